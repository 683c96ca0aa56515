"""A stranger's run folder: what its configuration may name without a question."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import run_seqae, write_recipe, write_text

from seqae.recipes import find_config
from seqae.training.command.commands import named_url
from seqae.training.command.trust import foreign_links, foreign_settings

Config = dict[str, Any]


@pytest.fixture
def run(overfit_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's run: nothing of it is remembered on this machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Path(shutil.copytree(overfit_run, tmp_path / "run", symlinks=True))


def change(run: Path, how: Callable[[Config], object]) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    how(config)
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")


MARKING = {"class_path": "marking.X"}
WAYS: dict[str, Callable[[Config], object]] = {
    "a callback": lambda c: c["trainer"].update(callbacks=[MARKING]),
    "a callback by its name alone": lambda c: c["trainer"].update(callbacks="marking.X"),
    "a logger": lambda c: c["trainer"].update(logger=MARKING),
    "a profiler": lambda c: c["trainer"].update(profiler="marking.X"),
    "a plugin": lambda c: c["trainer"].update(plugins=[MARKING]),
    "a strategy": lambda c: c["trainer"].update(strategy=MARKING),
    "an encoder": lambda c: c["model"]["autoencoder"].update(encoder=MARKING),
    "an objective": lambda c: c["model"].update(objective="marking.X"),
    "a tokenizer": lambda c: c["data"].update(tokenizer="marking.X"),
    "a value of any type": lambda c: c.update(samples=MARKING),
    "a key with dots": lambda c: c.update({"trainer.callbacks": ["marking.X"]}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_class_is_asked_for_and_not_imported(
    run: Path, mark: Path, capsys: pytest.CaptureFixture[str], command: str, way: str
) -> None:
    change(run, WAYS[way])
    capsys.readouterr()
    assert run_seqae(command, *(["--resume"] if command == "fit" else []), run) == 1
    said = capsys.readouterr().err
    assert "`trust` must be given" in said
    assert "marking.X" in said
    assert said.count("\n") == 1
    assert not mark.exists()


@pytest.mark.parametrize("key", ["trainer.logger", "trainer.callbacks", "data.reading"])
def test_no_file_of_settings_in_the_run_is_read(
    run: Path, mark: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """The parser would read it for a class, and look for it in the folder of the configuration."""
    (run / "settings").write_text("class_path: marking.X\n")
    part, name = key.split(".")
    change(run, lambda c: c[part].update({name: "settings"}))
    assert run_seqae("test", run) == 1
    assert f"`{key}: settings`" in capsys.readouterr().err
    assert not mark.exists()


def init(class_path: str, /, **arguments: object) -> Config:
    return {"class_path": class_path, "init_args": arguments}


FOREIGN: dict[str, Config] = {
    "a function": {"trainer": {"callbacks": [init("StochasticWeightAveraging", avg_fn="os.x")]}},
    "a class that runs functions": {"trainer": {"callbacks": "LambdaCallback"}},
    "the same with dots": {
        "trainer": {"callbacks": [init("lightning.pytorch.callbacks.LambdaCallback")]}
    },
    "a strategy that unpickles": {"trainer": {"strategy": "FSDPStrategy"}},
    "a torch function": {"trainer": {"profiler": init("torch.hub.load")}},
    "a folder elsewhere": {"trainer": {"logger": init("CSVLogger", save_dir="/tmp/elsewhere")}},
    "a folder above": {"trainer": {"callbacks": [init("ModelCheckpoint", dirpath="../x")]}},
    "a folder below here": {"trainer": {"callbacks": [init("ModelCheckpoint", dirpath="x")]}},
    "at home": {"trainer": {"default_root_dir": "~/x"}},
    "a file above": {"trainer": {"callbacks": [init("ModelCheckpoint", filename="../../x")]}},
    "an output": {"output": "/home/me/.profile"},
    "a cache": {"data": {"cache_dir": "/tmp/cache"}},
    "a file of settings": {"trainer": {"logger": "settings"}},
    "another file of settings": {"trainer": {"logger": "settings.yaml"}},
    "readers of a file of settings": {"data": {"reading": "settings.yaml"}},
    "a class that reads": {"data": {"cleaning": "marking.X"}},
    "a file of settings in the run": {"trainer": {"strategy": "beside"}},
    "a logger in YAML of one line": {
        "trainer": {"logger": "{class_path: CSVLogger, init_args: {save_dir: /tmp/elsewhere}}"}
    },
    "arguments in YAML of one line": {
        "trainer": {"logger": {"class_path": "CSVLogger", "init_args": "save_dir: /tmp/elsewhere"}}
    },
    "a class that ours import": {
        "trainer": {"callbacks": [init("seqae.training.command.lightning_cli.Callback")]}
    },
    "somebody's account": {"trainer": {"logger": init("WandbLogger", entity="somebody")}},
    "somebody's server": {
        "trainer": {"logger": init("WandbLogger", settings={"base_url": "http://a"})}
    },
    "a bundle that replaces a folder": {
        "trainer": {"callbacks": [init("BundleWriter", monitor="val/loss")]}
    },
    "the same by its name alone": {"trainer": {"callbacks": ["BundleWriter"]}},
    "rows that replace a file": {
        "trainer": {"logger": [init("seqae.training.logs.loggers.MetricsFile")]}
    },
    "a callback that no list has": {"trainer": {"callbacks": "RunFolder"}},
    "a plugin that unpickles": {"trainer": {"plugins": "XLACheckpointIO"}},
    "a strategy of another kind": {"trainer": {"strategy": "FSDPStrategy"}},
    "events in a folder here": {"trainer": {"logger": init("TensorBoardLogger", log_dir="x")}},
    "a host": {"trainer": {"logger": init("CSVLogger", name="http://10")}},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "beside").write_text("{}")
    assert len(list(foreign_settings(FOREIGN[what], tmp_path / "run"))) == 1


ORDINARY: dict[str, Config] = {
    "loggers": {"trainer": {"logger": [init("WandbLogger", project="seqae", save_dir=".")]}},
    "of Lightning": {
        "trainer": {
            "callbacks": [
                init("lightning.pytorch.callbacks.EarlyStopping", monitor="val/bleu", mode="max"),
                init("ModelCheckpoint", filename="{epoch}-{step}", dirpath=None),
                init("Timer", duration="00:12:00:00"),
            ]
        }
    },
    "a bar": {
        "trainer": {"callbacks": [init("RichProgressBar", theme={"a": "#6206E0", "b": ".3f"})]}
    },
    "shards": {"trainer": {"strategy": init("ShardedStrategy")}},
    "ours with dots": {"model": {"objective": init("seqae.objectives.Variational")}},
    "data": {"data": {"train": ["/home/me/a.txt", "hf:a/b", "../b.csv"], "cache_dir": None}},
    "columns": {"data": {"reading": {"column": "translation.en"}}},
}


@pytest.mark.parametrize("what", ORDINARY)
def test_what_is_not_asked_for(tmp_path: Path, what: str) -> None:
    assert not list(foreign_settings(ORDINARY[what], tmp_path))


@pytest.mark.parametrize("overlay", ["ddp", "debug", "fsdp", "gpu", "wandb"])
def test_no_overlay_is_asked_for(tmp_path: Path, overlay: str) -> None:
    text = Path(find_config(f"overlays/{overlay}")).read_text(encoding="utf-8")
    assert not list(foreign_settings(yaml.safe_load(text), tmp_path))


@pytest.mark.parametrize("name", ["lightning_logs", "wandb", "checkpoints/a", ".lock"])
def test_a_link_out_of_the_folder_is_asked_about(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "elsewhere")
    for arguments in (("test", run), ("fit", "--resume", run)):
        capsys.readouterr()
        assert run_seqae(*arguments) == 1
        said = capsys.readouterr().err
        assert f"names the link `{name}`, which leads out of the folder" in said
    assert not (tmp_path / "elsewhere").exists()


def test_links_within_the_folder_are_its_own(run: Path, tmp_path: Path) -> None:
    """Such as `checkpoints/last.ckpt`; those of W&B lead to its logs."""
    (run / "wandb" / "run-1").mkdir(parents=True)
    (run / "wandb" / "run-1" / "debug.log").symlink_to(tmp_path / "cache" / "debug.log")
    assert not list(foreign_links(run))
    assert run_seqae("test", run) == 0


def test_an_answer_is_kept(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, lambda c: c["trainer"].update(callbacks=[init("small.Recorder", folder=str(run))]))
    assert run_seqae("test", run) == 1
    assert "small.Recorder" in capsys.readouterr().err
    assert run_seqae("test", run, "--trust") == 0
    assert run_seqae("test", run) == 0
    change(run, lambda c: c.update(samples=1))  # is another configuration
    assert run_seqae("test", run) == 1


def test_an_own_run_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    text, run = write_text(tmp_path / "text.txt"), tmp_path / "run"
    options = ["--data.train", text, "--run_dir", run, "--trainer.max_steps", 1]
    options += ["--data.cache_dir", tmp_path / "cache"]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), *options) == 0
    assert run_seqae("fit", "--resume", run, "--trainer.max_steps", 2) == 0
    assert run_seqae("validate", run) == 0  # whose configuration is the resumed one
    shutil.rmtree(tmp_path / "state")
    assert run_seqae("validate", run) == 1
    assert "`data.cache_dir: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fit", "-c", "gru", "--trust"], "`trust` must be given for the folder of a run"),
        (["fit", "-c", "trusting.yaml"], "`trust` must be a flag"),
    ],
)
def test_trust_in_vain(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path, "trusting.yaml")
    recipe.write_text(recipe.read_text() + "trust: true\n")
    assert run_seqae(*arguments) == 1
    assert expected in capsys.readouterr().err


def test_data_elsewhere_is_asked_about_unless_the_run_is_in_the_same_bucket(tmp_path: Path) -> None:
    config = {"data": {"train": ["s3://one/x.txt", "my.txt"], "val": "hf:a/b"}}
    (foreign,) = foreign_settings(config, tmp_path)
    assert foreign == "`data.train: s3://one/x.txt`"
    assert list(foreign_settings(config, tmp_path, place="s3://other/run"))
    assert not list(foreign_settings(config, tmp_path, place="s3://one/run"))
    assert named_url(["stranger", "--data.val", "s3://one/y"]) is None
    assert named_url(["--data.val", "s3://one/y", "--resume", "s3://two/run"]) == "s3://two/run"
    assert named_url(["s3://two/run", "--data.val=s3://one/y"]) == "s3://two/run"
    address = {"data": {"train": "http://169.254.169.254/latest"}}
    assert list(foreign_settings(address, tmp_path, place="s3://one/run"))


def test_what_is_written_elsewhere_is_never_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for address in ("s3://a-stranger/x", "simplecache::x"):
        assert list(foreign_settings({"dirpath": address}, tmp_path, place="s3://a-stranger/run"))
    assert not list(foreign_settings({"dirpath": "checkpoints"}, tmp_path))
