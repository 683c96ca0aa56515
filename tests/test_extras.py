"""The core works without the extras, and whoever lacks one is told how to install it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_args

import pytest
from small import ROOT, own_process

from seqae.extras import PURPOSES, Extra, extra

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
BUNDLE = ROOT / "tests" / "fixtures" / "bundle_format_1"

# Every package that only extras bring is hidden. Then what the core can do is done, and what it
# cannot is tried.
WITHOUT_EXTRAS = """
import contextlib, io, json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
import seqae
from seqae.cli import main

bundle, said = sys.argv[2], {}
model = seqae.load(bundle)
said["latents"] = list(model.encode(["the cat"]).shape)
said["reconstruction"] = model.reconstruct(["the cat"])
said["sample"] = len(model.sample(2))

def tell(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
    return status, out.getvalue() or err.getvalue()

said["command"] = tell("reconstruct", bundle, "the cat")
said["file"] = tell("encode", bundle, "--input", sys.argv[3], "--output", "latents.npy")
said["fit"] = tell("fit", "-c", "gru")
said["report"] = tell("data", "report", sys.argv[3])
said["compare"] = tell("compare", bundle, bundle)
said["evaluate"] = tell("evaluate", bundle, sys.argv[3])
said["parquet"] = tell("encode", bundle, "the cat", "--output", "latents.parquet")
said["nltk"] = tell("encode", bundle, "--input", "nltk:brown")
said["hub"] = tell("encode", bundle, "--input", "hf:a/b")
try:
    seqae.TextDataModule
except ImportError as error:
    said["python"] = 1, str(error)
print(json.dumps(said))
"""


def package_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return canonical(match[0])


def canonical(name: str) -> str:
    """The name of a package as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(name: str) -> set[str]:
    """What an extra brings, with the extras that it takes in."""
    found: set[str] = set()
    for requirement in EXTRAS[name]:
        if match := re.fullmatch(r"seqae\[(.+)\]", requirement):
            found.update(*map(packages, match[1].split(",")))
        else:
            found.add(package_of(requirement))
    return found


@cache
def distributions(module: str) -> set[str]:
    """The packages that bring a module, which must be installed."""
    return set(map(canonical, BY_MODULE[module]))


# No extra brings it: it needs numba. Who names it without having it is told so.
USERS_OWN = {"umap"}
STANDARD = {*sys.stdlib_module_names, "compression"}  # which Python has from 3.14 on
BY_MODULE = packages_distributions()
CORE = {package_of(requirement) for requirement in PROJECT["dependencies"]}
ONLY_IN_EXTRAS = packages("all") - CORE


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    is_absolute = isinstance(node, ast.ImportFrom) and not node.level
    return [str(node.module).partition(".")[0]] if is_absolute else []


def extra_of(node: ast.AST) -> str | None:
    """The extra that a `with extra(...)` names."""
    if not isinstance(node, ast.With):
        return None
    match = re.fullmatch(r"extra\('([\w-]+)'\)", ast.unparse(node.items[0].context_expr))
    return match[1] if match else None


def imports(node: ast.AST, within: str | None) -> Iterator[tuple[str, str | None]]:
    """Each module that is imported, and the extra in whose block."""
    for child in ast.iter_child_nodes(node):
        yield from ((name, within) for name in imported(child))
        yield from imports(child, extra_of(child) or within)


def test_every_import_of_an_extra_is_guarded() -> None:
    """By its own block, or for a whole room by the block in its `__init__`."""
    wrong, seen = [], set()
    for path in sorted((ROOT / "seqae").rglob("*.py")):
        room = "train" if path.is_relative_to(ROOT / "seqae" / "training") else None
        if path.name == "onnx_runner.py":  # a script that leaves the package
            room = "onnx"
        for module, within in imports(ast.parse(path.read_text(encoding="utf-8")), room):
            if module in ("seqae", *STANDARD, *USERS_OWN):
                continue
            seen |= distributions(module)
            if distributions(module) & CORE:
                continue
            if within is None or not distributions(module) & packages(within):
                wrong.append(f"{path.name} imports {module} outside of the block of its extra")
    assert not wrong
    assert {package_of(name) for name in PROJECT["dependencies"]} <= seen, "an unused dependency"


def test_every_extra_has_its_words() -> None:
    assert set(PURPOSES) == set(get_args(Extra)) == set(EXTRAS) - {"all", "dev", "docs"}
    assert packages("dev") >= packages("all")


def test_other_errors_pass() -> None:
    with pytest.raises(ImportError, match="cannot import name"), extra("train"):
        from json import nothing  # type: ignore[attr-defined] # noqa: F401


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("core")
    (folder / "text.txt").write_text("the cat\nsees the mat\n")
    modules = [module for module in BY_MODULE if distributions(module) <= ONLY_IN_EXTRAS]
    assert {"lightning", "sklearn", "pyarrow", "datasets", "wandb", "nltk"} <= set(modules)
    modules.remove("huggingface_hub")  # the tokenizers bring it
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, json.dumps(modules), BUNDLE, "text.txt"],
        **{"cwd": folder, "env": own_process(), "text": True, "timeout": 100},
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    answer["folder"] = folder
    return answer


def test_the_core_uses_a_bundle(said: dict[str, Any]) -> None:
    [reconstruction] = said["reconstruction"]
    assert said["command"] == [0, f"{reconstruction}\n"]
    assert said["latents"][0] == 1
    assert said["sample"] == 2
    assert said["file"][0] == said["report"][0] == said["compare"][0] == 0, said
    assert Path(said["folder"], "latents.npy").exists()


@pytest.mark.parametrize(
    ("what", "subject", "package", "name"),
    [
        ("fit", "Training", "lightning", "train"),
        ("python", "Training", "lightning", "train"),
        ("evaluate", "Measuring", "", "eval"),
        ("parquet", "Parquet, Arrow", "pyarrow", "data"),
        ("hub", "Parquet, Arrow", "pyarrow", "data"),
        ("nltk", "Reading a corpus of NLTK", "nltk", "nltk"),
    ],
)
def test_a_missing_extra_is_one_line(
    said: dict[str, Any], what: str, subject: str, package: str, name: str
) -> None:
    status, message = said[what]
    assert status == 1
    assert message.count("\n") <= 1
    assert subject in message
    assert f" needs {package}" in message
    assert message.strip().endswith(f"Install it: pip install 'seqae[{name}]'")


def test_a_part_of_a_package_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ModuleNotFoundError, match="needs sklearn,"), extra("eval"):
        import sklearn.mixture  # noqa: F401
