"""Break a line of Python: what can be done to it, and how it is described and found again.

The script `mutate` uses this; its docstring says which lines are broken, and in which ways.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

# Calls that only say something to a person.
MESSAGES = {
    "print",
    "warn",
    "info",
    "debug",
    "warning",
    "error",
    "rank_zero_info",
    "rank_zero_warn",
}
LAST_RESORT = "None returned"  # most such mutants die at once: other ways come first

# How an operator is found in the text between its operands, and what takes its place.
COMPARISONS: dict[type[ast.cmpop], tuple[str, list[str]]] = {
    ast.Lt: (r"<", ["<=", ">="]),
    ast.LtE: (r"<=", ["<", ">"]),
    ast.Gt: (r">", [">=", "<="]),
    ast.GtE: (r">=", [">", "<"]),
    ast.Eq: (r"==", ["!="]),
    ast.NotEq: (r"!=", ["=="]),
    ast.Is: (r"\bis\b", ["is not"]),
    ast.IsNot: (r"\bis\s+not\b", ["is"]),
    ast.In: (r"\bin\b", ["not in"]),
    ast.NotIn: (r"\bnot\s+in\b", ["in"]),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: (r"-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: (r"/", "*"),
    ast.FloorDiv: (r"//", "*"),
    ast.Mod: (r"%", "//"),
    ast.Pow: (r"\*\*", "*"),
    ast.BitAnd: (r"&", "|"),
    ast.BitOr: (r"\|", "&"),
}
UNARY = {ast.Not: "not dropped", ast.USub: "sign dropped", ast.Invert: "inversion dropped"}


@dataclass(frozen=True)
class Mutant:
    """A breakage, described without line numbers.

    Attributes:
        file: path from the root of the tree.
        function: dotted name in the file.
        kind: what is done to the line.
        before: the lines, without the indent of the first.
        after: what takes their place.
        index: which one of the function's blocks of lines that equal `before`, from 0.
    """

    file: str
    function: str
    kind: str
    before: str
    after: str
    index: int = 0


class Edit(NamedTuple):
    """Bytes `start` to `end` of a line, or all of the lines if `start` is None, become a text."""

    kind: str
    first: int
    last: int
    start: int | None
    end: int
    text: str


def draw(tree: Path, count: int, seed: int) -> list[Mutant]:
    """Draw lines evenly over the rooms of seqae/ and break each in one way.

    The rooms with the most lines get the remainder.
    """
    rooms: dict[str, list[tuple[Path, int, list[Mutant]]]] = {}
    for path in sorted((tree / "seqae").rglob("*.py")):
        name = path.relative_to(tree).as_posix()
        room = name.split("/")[1] if name.count("/") > 1 else "ground floor"
        lines = [(path, line, choices) for line, choices in mutants(path, name).items()]
        rooms.setdefault(room, []).extend(lines)
    rooms = {room: lines for room, lines in sorted(rooms.items()) if lines}
    largest = sorted(rooms, key=lambda room: -len(rooms[room]))
    drawn = []
    for room, lines in rooms.items():
        share = count // len(rooms) + (largest.index(room) < count % len(rooms))
        generator = random.Random(f"{seed} {room}")
        generator.shuffle(lines)
        chosen: list[Mutant] = []
        while lines and len(chosen) < share:
            path, line, choices = lines.pop()
            generator.shuffle(choices)
            choices.sort(key=lambda mutant: mutant.kind == LAST_RESORT)
            valid = (located(choice, path, line) for choice in choices)
            chosen += filter(None, [next(filter(None, valid), None)])
        drawn += chosen
    return drawn


def mutants(path: Path, name: str) -> dict[int, list[Mutant]]:
    """List what may be done to a file, by line; a part of it may be no Python, see `located`."""
    source = path.read_text(encoding="utf-8")
    lines = source.split("\n")
    result: dict[int, list[Mutant]] = {}
    for function, edit in edits(ast.parse(source), source.encode().split(b"\n")):
        block = lines[edit.first - 1 : edit.last]
        after = edit.text
        if edit.start is not None:
            line = block[0].encode()
            after = (line[: edit.start] + after.encode() + line[edit.end :]).decode().strip()
            after = after.replace("(, ", "(").replace(", )", ")")
        mutant = Mutant(name, function, edit.kind, dedented(block), after)
        result.setdefault(edit.first, []).append(mutant)
    return result


def located(mutant: Mutant, path: Path, line: int) -> Mutant | None:
    """Give a mutant of a line its index, or None if it leaves no program, or the same one."""
    source = path.read_text(encoding="utf-8")
    mutant = replace(mutant, index=occurrences(source, mutant).index(line - 1))
    broken = break_source(source, mutant) or ""
    try:
        is_other = ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source))
    except SyntaxError:
        return None
    return mutant if is_other else None


def break_source(source: str, mutant: Mutant) -> str | None:
    """Put a mutant into a source; None if its lines are not there."""
    positions = occurrences(source, mutant)
    if mutant.index >= len(positions):
        return None
    lines, first = source.split("\n"), positions[mutant.index]
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    after = [indent + line for line in mutant.after.split("\n")]
    lines[first : first + mutant.before.count("\n") + 1] = after
    return "\n".join(lines)


def occurrences(source: str, mutant: Mutant) -> list[int]:
    """Find where a mutant's lines begin: in its function, or anywhere if the file has no such."""
    lines, length = source.split("\n"), mutant.before.count("\n") + 1
    first = mutant.before.split("\n")[0]
    begins = [index for index, line in enumerate(lines) if line.strip() == first]
    begins = [i for i in begins if dedented(lines[i : i + length]) == mutant.before]
    bounds = function_bounds(ast.parse(source)).get(mutant.function)
    return [i for i in begins if bounds is None or bounds[0] <= i + 1 <= bounds[1]]


def dedented(block: list[str]) -> str:
    """Join lines without the indent of the first."""
    indent = block[0][: len(block[0]) - len(block[0].lstrip())]
    return "\n".join(line.removeprefix(indent) for line in block)


def function_bounds(tree: ast.AST, prefix: str = "") -> dict[str, tuple[int, int]]:
    """First and last line of each function and class, by its dotted name."""
    result: dict[str, tuple[int, int]] = {}
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            result[prefix + node.name] = (node.lineno, node.end_lineno or node.lineno)
            name = f"{prefix}{node.name}."
        result |= function_bounds(node, name)
    return result


# What can be done to a piece of syntax


def edits(
    node: ast.AST, lines: list[bytes], scope: tuple[str, ...] = (), is_code: bool = False
) -> Iterator[tuple[str, Edit]]:
    """Yield each edit of the code inside functions, with the function's dotted name."""
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    match node:
        case ast.FunctionDef():
            children, scope, is_code = list(node.body), (*scope, node.name), True
        case ast.ClassDef():
            children, scope, is_code = list(node.body), (*scope, node.name), False
        case ast.AnnAssign():
            children = [node.value] if node.value else []
        case ast.JoinedStr() | ast.Assert() | ast.Raise():  # messages, and what types need
            children = []
        case ast.Call() if is_message(node):
            children = []
    if is_code:
        yield from ((".".join(scope), edit) for edit in edits_of(node, lines))
    for child in children:
        yield from edits(child, lines, scope, is_code)


def edits_of(node: ast.AST, lines: list[bytes]) -> Iterator[Edit]:
    """Yield the edits of one node, without those of its children."""
    match node:
        case ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
            yield deletion(node)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield deletion(node)
        case ast.Expr(value=ast.Call() as call) if not is_message(call):
            yield deletion(node)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield from replacement(LAST_RESORT, value, "None")
        case ast.If() | ast.While() | ast.IfExp():
            if isinstance(test := node.test, (ast.Name, ast.Attribute, ast.Call)):
                start = test.col_offset
                yield Edit("condition negated", test.lineno, test.lineno, start, start, "not ")
        case ast.Compare(left=first):
            pairs = zip([first, *node.comparators], node.comparators, node.ops, strict=False)
            for left, right, operator in pairs:
                old, choices = COMPARISONS[type(operator)]
                for new in choices:
                    yield from between("comparison flipped", left, right, old, new, lines)
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            old, new = ARITHMETIC[type(node.op)]
            yield from between("operator changed", node.left, node.right, old, new, lines)
        case ast.BoolOp():
            is_and = isinstance(node.op, ast.And)
            old, new = (r"\band\b", "or") if is_and else (r"\bor\b", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from between("and/or swapped", left, right, old, new, lines)
        case ast.UnaryOp(operand=operand) if type(node.op) in UNARY:
            if node.lineno == operand.lineno:
                start, end = node.col_offset, operand.col_offset
                yield Edit(UNARY[type(node.op)], node.lineno, node.lineno, start, end, "")
        case ast.Constant(value=bool() as value):
            yield from replacement("constant changed", node, str(not value))
        case ast.Constant(value=int() as value):
            yield from replacement("constant changed", node, str(value + 1))
        case ast.Constant(value=float() as value):
            yield from replacement("constant changed", node, repr(2 * value or 1.0))
        case ast.Call() if not is_message(node):
            yield from without_arguments(node)


def deletion(node: ast.stmt) -> Edit:
    """Leave a statement out."""
    return Edit("statement deleted", node.lineno, node.end_lineno or node.lineno, None, 0, "pass")


def replacement(kind: str, node: ast.expr, text: str) -> Iterator[Edit]:
    """Put a text in place of an expression, if that is within one line."""
    if node.lineno == node.end_lineno:
        yield Edit(kind, node.lineno, node.lineno, node.col_offset, node.end_col_offset or 0, text)


def between(
    kind: str, left: ast.expr, right: ast.expr, old: str, new: str, lines: list[bytes]
) -> Iterator[Edit]:
    """Replace the operator that stands between two expressions, if they share its line."""
    start, line = left.end_col_offset or 0, right.lineno
    found = re.search(old, lines[line - 1][start : right.col_offset].decode())
    if left.end_lineno == line and found:
        yield Edit(kind, line, line, start + found.start(), start + found.end(), new)


def without_arguments(call: ast.Call) -> Iterator[Edit]:
    """Drop an argument given by name; without one given by position, it is a TypeError mostly."""
    arguments: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    for previous, argument in zip([None, *arguments], arguments, strict=False):
        line = argument.lineno
        if isinstance(argument, ast.keyword) and line == argument.end_lineno:
            start, end = argument.col_offset, argument.end_col_offset or 0
            if previous and previous.end_lineno == line:
                start = previous.end_col_offset or 0
            yield Edit("argument dropped", line, line, start, end, "")


def is_message(node: ast.Call) -> bool:
    """Whether a call only tells a person something."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in MESSAGES
    return False
