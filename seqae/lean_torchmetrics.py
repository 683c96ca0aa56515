"""Import torchmetrics, which Lightning imports, without what it imports in its turn.

For plots and for metrics of sound and of language models, torchmetrics (1.9) imports whichever of
`OPTIONAL` is installed. Beside Hugging Face's libraries that is half of the time that Lightning
takes to import. No command needs these metrics; somebody's own callback may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPTIONAL = frozenset({"matplotlib", "scipy", "transformers"})

# `module.Class` of a package that is neither ours nor Lightning's.
_OWN_CLASS = re.compile(r"(?<![\w./-])(?!(?:seqae|lightning|torch)\.)(?:[a-z_]\w*\.)+[A-Z]\w*")


def import_torchmetrics(arguments: Sequence[str]) -> None:
    """Import torchmetrics, without `OPTIONAL` unless the command names a class of somebody else.

    Call this in a process that runs the command and nothing else.

    Args:
        arguments: of the command; in the configurations and run folders among them classes are
            looked for, too.
    """
    if any(_OWN_CLASS.search(text) for text in _texts(arguments)):
        return
    try:
        with _taken_for_missing():
            import torchmetrics  # noqa: F401
    except ImportError:  # whoever needs it says which extra is missing
        return


def _texts(arguments: Sequence[str]) -> Iterator[str]:
    yield from arguments
    for argument in arguments:
        path = Path(argument.partition("=")[2] or argument)
        try:
            path = path / "config.yaml" if path.is_dir() else path
            if path.suffix in (".yaml", ".yml"):
                yield path.read_text(encoding="utf-8")
        except (OSError, ValueError):  # told by whoever reads it, or no path at all
            continue


@contextmanager
def _taken_for_missing() -> Iterator[None]:
    from lightning_utilities.core import imports

    check, find = imports.RequirementCache._check_requirement, imports.package_available

    def checked(self: Any) -> None:
        check(self)
        if re.split(r"\W", self.requirement, maxsplit=1)[0] in OPTIONAL:
            self.available = False

    def found(package_name: str) -> bool:
        return package_name not in OPTIONAL and bool(find(package_name))

    imports.RequirementCache._check_requirement = checked  # type: ignore[method-assign]
    imports.package_available = found  # type: ignore[assignment]
    try:
        yield
    finally:
        imports.RequirementCache._check_requirement = check  # type: ignore[method-assign]
        imports.package_available = find
