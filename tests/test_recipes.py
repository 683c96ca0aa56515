"""The shipped recipes: found by name, listed, printed, true to their headers, and in the wheel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import CONFIGS, ROOT, SENTENCES, run_seqae, write_text

from seqae import recipes
from seqae.recipes import find_config, first_comment, recipe_names

NAMES = sorted(
    path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")
)
COMMANDS = ("fit", "prepare", "validate", "test", "predict")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory outside the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Finding


@pytest.mark.parametrize("name", ["gru", "overlays/wandb"])
def test_name_is_found(elsewhere: Path, name: str) -> None:
    assert Path(find_config(name)) == CONFIGS / f"{name}.yaml"


def test_every_recipe_has_a_name() -> None:
    assert sorted(recipe_names()) == NAMES


def test_file_of_that_very_name_wins(elsewhere: Path) -> None:
    Path("gru").write_text("model: {seed: 5}\n")
    assert find_config("gru") == "gru"
    Path("overlays").mkdir()
    Path("overlays/debug").write_text("model: {seed: 5}\n")
    assert find_config("overlays/debug") == "overlays/debug"


def test_folder_and_file_with_an_ending_do_not_win(elsewhere: Path) -> None:
    Path("gru").mkdir()
    Path("vae.yaml").write_text("model: {seed: 5}\n")
    assert Path(find_config("gru")) == CONFIGS / "gru.yaml"
    assert Path(find_config("vae")) == CONFIGS / "vae.yaml"


@pytest.mark.parametrize("text", ["model: {seed: 5}", "{}", "model:\n  seed: 5\n"])
def test_yaml_text_is_left_to_the_parser(text: str) -> None:
    assert find_config(text) == text


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("grru", "gru"),
        ("gru.yaml", "gru"),
        ("configs/gru.yaml", "gru"),
        ("wandb", "overlays/wandb"),
        ("configs/overlays/fspd.yaml", "overlays/fsdp"),
        ("something", None),
    ],
)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["fit", "-c"],
            "`config` must be a file or the name of a recipe, but it is {given}, which is neither.",
        ),
        (["recipes", "show"], "`show` must be the name of a recipe, but it is {given}."),
    ],
)
def test_unknown_name_in_one_line(
    elsewhere: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
    given: str,
    meant: str | None,
) -> None:
    assert run_seqae(*arguments, given) == 2
    lines = capsys.readouterr().err.splitlines()
    way_out = f"Did you mean {meant}? " if meant else ""
    names = ", ".join(name for name in recipe_names() if "/" not in name)
    listed = f"The recipes are {names}; `seqae recipes` lists all."
    assert lines == [f"seqae: error: {said.format(given=given)} {way_out}{listed}"]


# On the command line


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_names(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_seqae(command, "-c", "gru", "-c", "overlays/debug", "--print_config") == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["autoencoder"]["encoder"]["class_path"].endswith("GRUEncoder")
    assert config["trainer"]["max_steps"] == 20


@pytest.mark.parametrize("arguments", [["--config", "gru"], ["--config=gru"], ["-cgru"]])
def test_forms_of_the_option(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run_seqae("fit", *arguments, "--print_config") == 0
    assert "GRUEncoder" in capsys.readouterr().out


# seqae recipes


def test_list_has_each_name_with_its_first_comment(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = dict(line.strip().split(maxsplit=1) for line in lines if line.startswith("  "))
    assert rows == {name: first_comment(name) for name in recipe_names()}
    assert max(map(len, lines)) <= 100


def test_first_comment_is_a_sentence() -> None:
    for name in NAMES:
        line = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
        assert re.fullmatch(r"# [A-Z].{10,73}\.", line), name
        assert line == f"# {first_comment(name)}"


@pytest.mark.parametrize("name", ["gru", "overlays/gpu"])
def test_show_prints_the_file(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run_seqae("recipes", "show", name) == 0
    assert capsys.readouterr().out == (CONFIGS / f"{name}.yaml").read_text()


def test_help_says_which_one_wins(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["recipes", "--help"], ["recipes", "show", "--help"]):
        assert run_seqae(*arguments) == 0
        assert "reads the file NAME if there is one" in capsys.readouterr().out
    assert run_seqae("fit", "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "`seqae recipes` lists them); a file of that name wins" in said


@pytest.mark.parametrize("arguments", [["shw", "gru"], ["show"], ["show", "gru", "vae"], ["gru"]])
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run_seqae("recipes", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("seqae: error: `seqae recipes` must be followed by nothing or by show ")
    assert len(said.splitlines()) == 1


# Headers: a recipe differs from another only in the keys that its header names

DIFFERS = re.compile(r"^# Differs from (\w+)\.yaml in: (.+(?:\n#   .+)*)$", re.MULTILINE)


def leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a configuration under its key, without `init_args`, as options name them."""
    if not isinstance(config, dict):
        yield key, config
        return
    for name, value in config.items():
        below = key if name == "init_args" else f"{key}.{name}".lstrip(".")
        yield from leaves(value, below)


def differing_keys(first: Path, second: Path) -> set[str]:
    one, other = (dict(leaves(yaml.safe_load(path.read_text()))) for path in (first, second))
    absent = object()
    return {key for key in one | other if one.get(key, absent) != other.get(key, absent)}


def named_differences(recipe: Path) -> dict[str, list[str]]:
    """The keys that a recipe's header names, by the recipe that it compares itself with."""
    return {
        base: keys.replace("\n#  ", "").split(", ")
        for base, keys in DIFFERS.findall(recipe.read_text())
    }


OTHERS = {"gru", "scale/hundredth", *(n for n in NAMES if n.startswith("overlays/"))}


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OTHERS])
def test_recipe_differs_only_where_its_header_says(name: str) -> None:
    recipe = CONFIGS / f"{name}.yaml"
    named = named_differences(recipe)
    assert "gru" in named
    for base, keys in named.items():
        differing = differing_keys(recipe, CONFIGS / f"{base}.yaml")
        covered = {key: {d for d in differing if f"{d}.".startswith(f"{key}.")} for key in keys}
        assert differing == set().union(*covered.values())
        assert all(covered.values()), "a key that is named does not differ"


# After `pip install`


def run_python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_installed_wheel_trains_from_a_name(tmp_path: Path) -> None:
    """The wheel, installed outside the checkout and run from another folder, holds the recipes."""
    installed, work = tmp_path / "installed", tmp_path / "work"
    work.mkdir()
    run_python("-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")  # one from the other
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for folder in (".ci", "benchmarks", "configs", "docs", "scripts", "tests"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        kept = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
        assert kept <= packed, f"{folder} is not whole in {sdist.name}"
    run_python("-m", "pip", "install", "--quiet", "--no-deps", "--target", installed, wheel)
    shipped = {path.relative_to(installed / "seqae/configs") for path in installed.rglob("*.yaml")}
    assert {path.with_suffix("").as_posix() for path in shipped} == set(NAMES)

    in_wheel = {"cwd": work, "env": {**os.environ, "PYTHONPATH": str(installed)}}
    shown = run_python("-m", "seqae", "recipes", "show", "gru", **in_wheel).stdout
    assert shown == (CONFIGS / "gru.yaml").read_text()
    text = write_text(work / "text.txt", SENTENCES)
    options = ["--data.train", text, "--run_dir", "run", "--trainer.max_steps", 3, "--threads", 1]
    run_python("-m", "seqae", "fit", "-c", "gru", "-c", "overlays/debug", *options, **in_wheel)
    rows = (work / "run/metrics.jsonl").read_text().splitlines()
    assert max(json.loads(row)["step"] for row in rows) == 3
    # It is the wheel that has run, not the checkout of an editable installation.
    where = run_python("-c", "import seqae.recipes as r; print(r.recipe_folder())", **in_wheel)
    assert Path(where.stdout.strip()) == installed / "seqae/configs"


def test_checkout_uses_its_own_files() -> None:
    assert recipes.recipe_folder() == CONFIGS


def test_the_help_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("recipes", "-h") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
