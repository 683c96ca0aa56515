"""The shipped recipes, found by name: `seqae fit -c gru` works in a clone and after `pip install`.

The files are those of configs/ at the top of the repository. The wheel carries them as
seqae/configs/, so this module looks there first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from seqae.terminal import fail

PACKAGE = Path(__file__).parent

# What `-c` may be given as a name or a path. Anything else is YAML text, which the parser reads.
PATH_LIKE = re.compile(r"[\w.~+/\\-]+")

USAGE = """\
usage: seqae recipes [show NAME]

List the shipped recipes and overlays, or print one of them.

example:
  seqae recipes show gru > my.yaml    a file to change
  seqae fit -c my.yaml                train from it
  seqae fit -c gru -c overlays/gpu    train from the shipped ones

`-c NAME` reads the file NAME if there is one, and otherwise the recipe of that
name."""


def recipe_folder() -> Path:
    """Return the folder of the recipes: inside the package from a wheel, beside it in a clone."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def recipe_names() -> list[str]:
    """List the names that `-c` takes, such as `gru` and `overlays/wandb`; overlays come last."""
    folder = recipe_folder()
    paths = sorted(folder.rglob("*.yaml"), key=lambda path: (len(path.parts), path))
    return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]


def recipe_path(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: one of `recipe_names`.
    """
    return recipe_folder() / f"{name}.yaml"


def find_config(value: str, key: str = "config") -> str:
    """Replace the name of a recipe by its path. A file of that very name wins.

    Args:
        value: what `-c` was given: a path, the name of a recipe, or YAML text.
        key: the argument, for the error message.

    Returns:
        The path of the recipe; a file or YAML text unchanged.

    Raises:
        ValueError: if it looks like a name or a path, but there is neither such a recipe nor such
            a file.
    """
    path = Path(os.path.expanduser(value))
    if not PATH_LIKE.fullmatch(value) or (path.exists() and not path.is_dir()):
        return value
    if value in recipe_names():
        return str(recipe_path(value))
    raise ValueError(
        f"`{key}` must be a file or the name of a recipe, but it is {value}, which is neither. "
        f"{_way_out(value)}"
    )


def first_comment(name: str) -> str:
    """Return the first line of a recipe, which says what the recipe is.

    Args:
        name: one of `recipe_names`.
    """
    with recipe_path(name).open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def listing() -> str:
    """Return the text of `seqae recipes`: each name with its first comment."""
    folders: dict[str, list[str]] = {}
    for name in recipe_names():
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    return "\n".join(
        [
            "recipes, for `seqae fit -c NAME`:",
            "",
            *_described(folders[""]),
            "",
            "for GPUs, and a hundredth of it to try it out:",
            "",
            *_described(folders["scale"]),
            "",
            "experiments, recipes too:",
            "",
            *_described(folders["experiments"]),
            "",
            "overlays, to add to one with another `-c NAME`:",
            "",
            *_described(folders["overlays"]),
            "",
            "`seqae recipes show NAME > my.yaml` makes a file to change. A file of yours that is",
            "called NAME wins over the recipe.",
        ]
    )


def _described(names: Sequence[str]) -> list[str]:
    width = max(map(len, names))
    return [f"  {name:{width}}  {first_comment(name)}" for name in names]


def run(args: Sequence[str]) -> None:
    """Run `seqae recipes`.

    Args:
        args: what follows `recipes` on the command line.
    """
    if any(arg in ("-h", "--help") for arg in args):
        print(USAGE)
    elif not args:
        print(listing())
    elif args[0] != "show" or len(args) != 2:
        fail(
            f"`seqae recipes` must be followed by nothing or by show NAME, but it is followed by "
            f"{' '.join(args)}. `seqae recipes` lists the names.",
            status=2,
        )
    elif args[1] not in recipe_names():
        fail(
            f"`show` must be the name of a recipe, but it is {args[1]}. {_way_out(args[1])}",
            status=2,
        )
    else:
        print(recipe_path(args[1]).read_text(encoding="utf-8"), end="")


def _way_out(value: str) -> str:
    """Suggest the closest recipe, also for `configs/gru.yaml` or `wandb`; list the main ones."""
    names = recipe_names()
    by_last_part = {name.rpartition("/")[2]: name for name in names}
    closest = get_close_matches(Path(value).stem, by_last_part, n=1)
    suggestion = f"Did you mean {by_last_part[closest[0]]}? " if closest else ""
    listed = ", ".join(name for name in names if "/" not in name)
    return f"{suggestion}The recipes are {listed}; `seqae recipes` lists all."
