"""scripts/dev/mutate: what can be broken, in which draw, and how it is found again."""

from __future__ import annotations

import ast
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from small import ROOT

SOURCE = '''"""A module."""

LIMIT = 5


class Counter:
    """Counts.

    Args:
        step: 1 or more.
    """

    def add(self, number: int = 3) -> bool:
        """Add 2 to it."""
        assert number > 0
        print("more than 4")
        self.total += number
        if not self.total:
            raise ValueError(
                f"`total` must not be {self.total + 1}"
            )
        return self.total >= 10 and max(3, 4, key=abs) != 2
'''


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "dev"))
    import mutants

    yield mutants
    del sys.modules["mutants"]


def test_what_can_be_broken(mutants: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "counter.py"
    path.write_text(SOURCE)
    found = {m.after: m for line in mutants.mutants(path, "counter.py").values() for m in line}
    assert {mutant.function for mutant in found.values()} == {"Counter.add"}
    result = "return self.total >= 10 and max(3, 4, key=abs) != 2"
    assert {mutant.kind: after for after, mutant in found.items() if "return" in after} == {
        "comparison flipped": "return self.total >= 10 and max(3, 4, key=abs) == 2",
        "and/or swapped": "return self.total >= 10 or max(3, 4, key=abs) != 2",
        "constant changed": "return self.total >= 10 and max(3, 4, key=abs) != 3",
        "argument dropped": "return self.total >= 10 and max(3, 4) != 2",
        "None returned": "return None",
    }
    others = {after: mutant.before for after, mutant in found.items() if result != mutant.before}
    assert others.pop("if self.total:") == "if not self.total:"
    assert set(others) == {"pass"}
    deleted = [m for line in mutants.mutants(path, "").values() for m in line if m.after == "pass"]
    lines = [mutant.before.splitlines() for mutant in deleted]
    assert [(line[0], len(line)) for line in lines] == [
        ("self.total += number", 1),
        ("raise ValueError(", 3),
    ]


def test_the_same_breakage_in_another_version(mutants: ModuleType) -> None:
    mutant = mutants.Mutant("counter.py", "Counter.add", "", "self.total += number", "pass")
    broken = mutants.break_source(SOURCE, mutant)
    assert broken == SOURCE.replace("self.total += number", "pass")
    moved = SOURCE.replace("LIMIT = 5", "LIMIT = 5\nOTHER = 6").replace("Counter", "Adder")
    assert mutants.break_source(moved, mutant) == broken.replace("Counter", "Adder").replace(
        "LIMIT = 5", "LIMIT = 5\nOTHER = 6"
    )
    assert mutants.break_source(SOURCE, replace(mutant, index=1)) is None
    assert mutants.break_source(SOURCE.replace("number", "n"), mutant) is None


def test_the_draw_is_fixed_by_its_seed_and_spread_over_the_rooms(
    mutants: ModuleType, tmp_path: Path
) -> None:
    for room in ("metrics", "generation"):
        shutil.copytree(ROOT / "seqae" / room, tmp_path / "seqae" / room)
    shutil.copy(ROOT / "seqae" / "batch.py", tmp_path / "seqae")
    drawn = mutants.draw(tmp_path, 10, 0)
    assert drawn == mutants.draw(tmp_path, 10, 0) != mutants.draw(tmp_path, 10, 1)
    rooms = Counter(mutant.file.split("/")[1] for mutant in drawn)
    assert set(rooms) == {"metrics", "generation", "batch.py"}
    assert sorted(rooms.values()) == [3, 3, 4]
    for mutant in drawn:
        source = (tmp_path / mutant.file).read_text(encoding="utf-8")
        broken = mutants.break_source(source, mutant)
        assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source))
