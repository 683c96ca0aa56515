"""Sharded training (FSDP2): the numbers of DDP, checkpoints of shards, and what may not be read.

Two real processes where processes matter; else one, whose weights are sharded all the same.
"""

from __future__ import annotations

import collections
import errno
import os
import pickle
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.distributed
from faults import Faults
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, SingleDeviceStrategy
from ranks import FORKS, run_on_ranks
from small import (
    COMMAND,
    CONFIGS,
    figures,
    numbered,
    own_process,
    read_rows,
    run_seqae,
    with_callback,
    write_recipe,
    write_text,
)
from torch import nn

import seqae
from seqae.files import StorageError
from seqae.metrics.definitions import unit_of
from seqae.training.checkpoints import sharded as sharded_checkpoint
from seqae.training.checkpoints.callback import checkpoints
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import is_intact
from seqae.training.checkpoints.sharded import (
    METADATA,
    PlainPlanner,
    PlainReader,
    read_unsharded,
    write_shards,
)
from seqae.training.distributed.exit_status import REQUEUE
from seqae.training.distributed.fsdp import (
    ShardedStrategy,
    by_name,
    check_shards_precision,
    check_strategy,
)
from seqae.units import format_value

OVERLAYS = CONFIGS / "overlays"
GAUSSIAN = ["--model.autoencoder.latent", "GaussianLatent"]
VARIATIONAL = ["--model.objective", "Variational", *GAUSSIAN]

# What reads weights in a way of its own. The figures of one process are those without sharding.
MODELS: dict[str, list[object]] = {
    "discriminator": ["--model.objective", "Adversarial"],
    "codebook": ["--model.autoencoder.latent", "VectorQuantisedLatent"],
    "squared error": [
        *("--model.objective", "MeanSquaredError", "--model.autoencoder.head", "nearest"),
        *("--model.autoencoder.train_embedding", "false"),
    ],
    "drawn anew, in turns": [
        *VARIATIONAL,
        *("--model.objective.pretraining_steps", 3, "--model.objective.aggressive_steps", 4),
        *("--model.objective.encoder_updates", 2),
    ],
    "Transformers": [
        *("--model.autoencoder.encoder", "TransformerEncoder"),
        *("--model.autoencoder.decoder", "TransformerDecoder"),
    ],
    "accumulating": ["--trainer.accumulate_grad_batches", 2],
    "clipping": ["--trainer.gradient_clip_val", 0.05],
    "bf16-mixed": ["--trainer.precision", "bf16-mixed"],
    "bf16-true": ["--trainer.precision", "bf16-true"],
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", numbered(97))


def options(folder: Path, text: Path, overlay: str) -> list[object]:
    """Of a short training with all that draws numbers."""
    arguments = ["-c", write_recipe(folder), "-c", OVERLAYS / f"{overlay}.yaml"]
    arguments += ["--trainer.accelerator", "cpu", "--trainer.devices", 2, "--data.train", text]
    arguments += ["--run_dir", folder / "run", "--trainer.max_epochs", 2]
    arguments += ["--data.val_percent", 20, "--data.test_percent", 0, "--prior_sentences", 0]
    arguments += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    arguments += ["--model.autoencoder.encoder.dropout", 0.2]
    return [*arguments, "--model.autoencoder.embedding_dropout", 0.1]


def command(folder: Path, *arguments: object, status: int | None = 0) -> str:
    """The command in processes of its own: what it printed."""
    done = subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        env=own_process(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def train(folder: Path, text: Path, overlay: str, *more: object) -> Path:
    """A run of two processes."""
    command(folder, "fit", *options(folder, text, overlay), *more)
    return folder / "run"


def alone(*arguments: object) -> int:
    """The command in this one process; Lightning leaves variables for others behind."""
    before = dict(os.environ)
    try:
        return run_seqae(*arguments)
    finally:
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    return train(tmp_path_factory.mktemp("sharded"), text, "fsdp")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    folder = tmp_path_factory.mktemp("copied")
    assert run_on_ranks(folder, "fit", *options(folder, text, "ddp")) == [0, 0]
    return folder / "run"


def check_close(run: Path, other: Path, rounding: float = 1e-5) -> None:
    """The figures differ by rounding only."""
    rows = figures(run), figures(other)
    assert len(rows[0]) == len(rows[1]) > 0
    for one, two in zip(*rows, strict=True):
        assert one == pytest.approx(two, rel=rounding, abs=rounding)


def rounding_of(model: str) -> float:
    # bfloat16 has 8 bits of precision; bf16-true rounds each step, not only what it is made of.
    return {"bf16-mixed": 2.0**-8, "bf16-true": 2.0**-6}.get(model, 1e-5)


# Two processes


@FORKS
def test_shards_train_as_copies_do(sharded: Path, copied: Path) -> None:
    check_close(sharded, copied)


@FORKS
def test_the_bundle_is_that_of_copies(sharded: Path, copied: Path) -> None:
    assert run_seqae("check", sharded) == 0
    assert seqae.load(sharded / "bundle").reconstruct(["number 7"])
    config = [(run / "bundle" / "config.json").read_bytes() for run in (sharded, copied)]
    assert config[0] == config[1]
    weights, expected = (
        safetensors.torch.load_file(run / "bundle" / "model.safetensors")
        for run in (sharded, copied)
    )
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_is_a_folder_of_both(sharded: Path) -> None:
    newest = checkpoints(sharded / "checkpoints")[0]
    assert {file.name for file in newest.iterdir()} == {
        *("__0_0.distcp", "__1_0.distcp", ".metadata", "meta.pt", "complete.json")
    }
    assert os.readlink(sharded / "checkpoints" / "last.ckpt") == newest.name
    assert all(map(is_intact_folder, checkpoints(sharded / "checkpoints")))


@FORKS
def test_a_checkpoint_holds_what_one_of_copies_does(sharded: Path, copied: Path) -> None:
    name = checkpoints(sharded / "checkpoints")[0].name
    one, two = (
        SafeCheckpointIO().load_checkpoint(r / "checkpoints" / name) for r in (sharded, copied)
    )
    assert one.keys() == two.keys()
    torch.testing.assert_close(one["state_dict"], two["state_dict"], rtol=1e-4, atol=1e-5)


def copy_until(run: Path, folder: Path, step: int) -> Path:
    """The run as it was when its newest checkpoint was that of a step."""
    copy = folder / "run"
    shutil.copytree(run, copy, symlinks=True)
    for path in checkpoints(copy / "checkpoints"):
        if int(path.stem.partition("=")[2]) > step:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (copy / "checkpoints" / "last.ckpt").unlink()
    (copy / "checkpoints" / "last.ckpt").symlink_to(f"step={step}.ckpt")
    return copy


def is_intact_folder(path: Path) -> bool:
    return path.is_dir() and is_intact(path)


def write_as_file(folder: Path, path: Path) -> None:
    """Write a sharded checkpoint as a run without sharding writes it."""
    SafeCheckpointIO().save_checkpoint(SafeCheckpointIO().load_checkpoint(folder), path)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_resume_is_bit_equal_from_the_newest_that_is_whole(sharded: Path, tmp_path: Path) -> None:
    run = copy_until(sharded, tmp_path, 3)
    damage(run / "checkpoints" / "step=3.ckpt" / "__1_0.distcp")
    said = command(tmp_path, "fit", "--resume", run)
    assert "step=3.ckpt is cut short, changed or gone; another checkpoint is taken" in said
    assert figures(run) == figures(sharded)


# Elsewhere than where it was written


@pytest.mark.parametrize("strategy", ["ShardedStrategy", "auto"])
def test_one_process_measures_what_two_have_saved(
    sharded: Path, capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    chosen = ["--trainer.devices", 1]
    if strategy == "auto":
        chosen += ["--trainer.strategy", strategy]
    capsys.readouterr()
    assert alone("validate", sharded, *chosen) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "val/" in line]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    expected = {k: v for k, v in figures(sharded)[-1].items() if k.startswith("val/")}
    assert {key: value for key, _, value in cells} == {
        key: format_value(value, unit_of(key)) for key, value in expected.items()
    }


def test_one_process_goes_on_with_what_two_have_saved(sharded: Path, tmp_path: Path) -> None:
    """Also with a file, and without sharding: after it the numbers are those of one process."""
    found = []
    for index, strategy in enumerate(("ShardedStrategy", "auto", "ShardedStrategy")):
        folder = tmp_path / str(index)
        folder.mkdir()
        run = copy_until(sharded, folder, 3)
        if index == 2:
            plain = run / "checkpoints" / "step=3.ckpt"
            write_as_file(plain, folder / "plain.ckpt")
            shutil.rmtree(plain)
            shutil.move(folder / "plain.ckpt", plain)
        chosen = ["--trainer.devices", 1]
        if strategy == "auto":
            chosen += ["--trainer.strategy", strategy]
        assert alone("fit", "--resume", run, *chosen) == 0
        assert figures(run)[:3] == figures(sharded)[:3]
        found.append(run)
    check_close(found[0], found[1])
    assert figures(found[0]) == figures(found[2])


@pytest.mark.parametrize(
    "model",
    [
        "discriminator",
        "drawn anew, in turns",
        "Transformers",
        pytest.param("bf16-true", marks=pytest.mark.slow),
    ],
)
def test_one_process_trains_as_without_sharding(model: str, text: Path, tmp_path: Path) -> None:
    runs = []
    for name, overlay in (("shards", "fsdp"), ("copies", "ddp")):
        (tmp_path / name).mkdir()
        arguments = options(tmp_path / name, text, overlay)
        arguments += ["--checkpoint.every_n_steps", 4, "--trainer.devices", 1]
        if overlay == "ddp":
            arguments += ["--trainer.strategy", "auto"]
        assert alone("fit", *arguments, *MODELS[model]) == 0
        runs.append(tmp_path / name / "run")
    check_close(*runs, rounding_of(model))


# Writing


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of this process."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def state_of(step: int) -> dict[str, Any]:
    """A small training state."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    named = by_name(optimizer.state_dict(), optimizer, model.named_parameters())
    state: dict[str, Any] = {"state_dict": model.state_dict(), "optimizer_states": [named]}
    state |= {"epoch": 0, "pytorch-lightning_version": "2.6.6"}
    return {**state, "global_step": step, "loops": {"a": [1, 2.0, "b"]}}


def test_what_is_written_is_read(group: None, tmp_path: Path) -> None:
    state = state_of(7)
    write_shards(state, tmp_path / "step=7.ckpt")
    found = SafeCheckpointIO().load_checkpoint(tmp_path / "step=7.ckpt")
    assert found.keys() == state.keys()
    exact = {"rtol": 0.0, "atol": 0.0}
    torch.testing.assert_close(found.pop("state_dict"), state.pop("state_dict"), **exact)
    (one,), (two,) = found.pop("optimizer_states"), state.pop("optimizer_states")
    torch.testing.assert_close(one.pop("state"), two.pop("state"), **exact)
    assert (one, found) == (two, state)


def test_any_call_that_fails_leaves_the_one_before(group: None, tmp_path: Path) -> None:
    write_shards(state_of(1), tmp_path / "step=1.ckpt")
    with Faults().active() as counted:
        write_shards(state_of(2), tmp_path / "step=2.ckpt")
    shutil.rmtree(tmp_path / "step=2.ckpt")
    assert counted.count > 8
    for index in range(counted.count):
        faults = Faults(errno.ENOSPC, index)
        # torch hides what the disk said where its zip file comes out too short.
        disk = r"step=2\.ckpt.* cannot be written: (No space left|.*unexpected pos).*Make room"
        # torch tries to make a folder that is there already, and does not mind.
        is_again = counted.calls[index] in counted.calls[:index]
        is_minded = not (is_again and counted.calls[index].startswith("mkdir"))
        refused = pytest.raises(StorageError, match=disk) if is_minded else nullcontext()
        with refused, faults.active():
            write_shards(state_of(2), tmp_path / "step=2.ckpt")
        assert is_intact_folder(tmp_path / "step=1.ckpt")
        # The last call syncs the list of names: what stands there then is whole.
        whole = [tmp_path / "step=1.ckpt"]
        if (tmp_path / "step=2.ckpt").exists():
            whole = [tmp_path / "step=2.ckpt", *whole]
            assert is_intact_folder(whole[0])
        assert checkpoints(tmp_path) == whole
    write_shards(state_of(2), tmp_path / "step=2.ckpt")
    assert is_intact_folder(tmp_path / "step=2.ckpt")
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_takes_the_place_of_another_kind(group: None, tmp_path: Path) -> None:
    path = tmp_path / "step=1.ckpt"
    for _ in range(2):
        write_shards(state_of(1), path)
        assert path.is_dir()
        SafeCheckpointIO().save_checkpoint(state_of(1), path)
        assert path.is_file()


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "meta.pt", "complete.json"])
def test_damage_is_found_before_anything_is_read(group: None, tmp_path: Path, name: str) -> None:
    path = tmp_path / "step=1.ckpt"
    write_shards(state_of(1), path)
    damage(path / name)
    with pytest.raises(ValueError, match="cut short or changed"):
        SafeCheckpointIO().load_checkpoint(path)
    with pytest.raises(ValueError, match="cut short or changed"):
        write_as_file(path, tmp_path / "plain.ckpt")
    (path / name).unlink()
    assert not is_intact_folder(path)


# Reading what a stranger has written


class Runs:
    """Runs a program when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def test_metadata_runs_nothing(group: None, tmp_path: Path) -> None:
    path = tmp_path / "step=1.ckpt"
    write_shards(state_of(1), path)
    metadata = PlainReader(path).read_metadata()
    metadata.planner_data = Runs(tmp_path / "made")
    (path / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match=r"names posix\.mkdir instead"):
        read_unsharded(path)
    assert not (tmp_path / "made").exists()


def test_metadata_names_no_file_elsewhere(group: None, tmp_path: Path) -> None:
    path = tmp_path / "step=1.ckpt"
    write_shards(state_of(1), path)
    metadata = PlainReader(path).read_metadata()
    for info in metadata.storage_data.values():
        info.relative_path = "../other"
    (path / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match="outside of its folder"):
        read_unsharded(path)
    (path / METADATA).write_bytes(pickle.dumps(collections.OrderedDict()))
    with pytest.raises(ValueError, match="must say where the weights are"):
        read_unsharded(path)


def test_a_value_runs_nothing(group: None, tmp_path: Path, monkeypatch: Any) -> None:
    state = state_of(1)
    state["optimizer_states"][0]["param_groups"][0]["lr"] = Runs(tmp_path / "made")
    write_shards(state, tmp_path / "step=1.ckpt")
    with pytest.raises(ValueError, match="Weights only load failed"):
        read_unsharded(tmp_path / "step=1.ckpt")
    assert not (tmp_path / "made").exists()
    # The test can fail: torch's own planner runs it.
    monkeypatch.delattr(PlainPlanner, "load_bytes")
    read_unsharded(tmp_path / "step=1.ckpt")
    assert (tmp_path / "made").exists()


# Refusals, and names


def test_other_ways_to_shard_are_refused() -> None:
    check_strategy(SingleDeviceStrategy())
    check_strategy(ShardedStrategy())
    check_strategy(ShardedStrategy(save_distributed_checkpoint=False), is_asynchronous=True)
    with pytest.raises(ValueError, match=r"it is ModelParallelStrategy instead.*-c overlays/fsdp"):
        check_strategy(ModelParallelStrategy())
    with pytest.raises(ValueError, match=r"`checkpoint\.asynchronous` must be false"):
        check_strategy(ShardedStrategy(), is_asynchronous=True)
    check_shards_precision("16-mixed", "ddp")
    check_shards_precision("bf16-mixed", "ShardedStrategy")
    with pytest.raises(ValueError, match=r"`trainer\.precision` must not be 16-mixed"):
        check_shards_precision("16-mixed", "seqae.training.distributed.fsdp.ShardedStrategy")


def test_optimizer_states_go_by_the_order_of_the_groups() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    weights = dict(model.named_parameters())
    groups = [[n for n in weights if n.endswith(end)] for end in ("weight", "bias")]
    optimizer = torch.optim.AdamW([{"params": [weights[n] for n in names]} for names in groups])
    sum(weight.sum() for weight in weights.values()).backward()
    optimizer.step()
    named = by_name(optimizer.state_dict(), optimizer, model.named_parameters())
    assert [group["params"] for group in named["param_groups"]] == groups
    for name, weight in weights.items():
        assert named["state"][name]["exp_avg"] is optimizer.state[weight]["exp_avg"]


# What takes longer: all of it on two processes, and signals


class KilledBeforeTheSeal(Callback):
    """Ends the first process at once where the shards of a step are written and not sealed."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step != self.step or trainer.global_rank:
            return

        def kill(path: Path, write: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        sharded_checkpoint.write_hashed = kill


@pytest.mark.slow
def test_a_kill_before_the_seal(sharded: Path, text: Path, tmp_path: Path) -> None:
    killed = with_callback("test_fsdp.KilledBeforeTheSeal", step=4)
    command(tmp_path, "fit", *options(tmp_path, text, "fsdp"), *killed, status=None)
    run = tmp_path / "run"
    assert (run / "checkpoints" / ".step=4.ckpt.unfinished" / "__1_0.distcp").exists()
    assert [path.name for path in checkpoints(run / "checkpoints")][0] == "step=3.ckpt"
    command(tmp_path, "fit", "--resume", run, "--trainer.callbacks", "[]")
    assert figures(run) == figures(sharded)
    assert not list((run / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_a_signal_saves_shards(sharded: Path, text: Path, tmp_path: Path) -> None:
    told = with_callback("test_preemption.Sender", moment="batch 2", numbers=[signal.SIGTERM])
    arguments = [*options(tmp_path, text, "fsdp"), "--checkpoint.every_n_steps", 0]
    command(tmp_path, "fit", *arguments, *told, status=REQUEUE)
    run = tmp_path / "run"
    (saved,) = checkpoints(run / "checkpoints")
    assert saved.is_dir()
    command(tmp_path, "fit", "--resume", run, "--trainer.callbacks", "[]")
    assert figures(run) == figures(sharded)


@pytest.mark.slow
def test_one_file_of_both(sharded: Path, text: Path, tmp_path: Path) -> None:
    whole = ["--trainer.strategy.save_distributed_checkpoint", "false"]
    run = train(tmp_path, text, "fsdp", *whole)
    assert figures(run) == figures(sharded)
    assert all(path.is_file() for path in checkpoints(run / "checkpoints"))
    (tmp_path / "resumed").mkdir()
    resumed = copy_until(run, tmp_path / "resumed", 3)
    command(tmp_path, "fit", "--resume", resumed)
    assert figures(resumed) == figures(run)


@pytest.mark.slow
@FORKS
def test_shards_and_copies_go_on_with_each_other(
    sharded: Path, copied: Path, tmp_path: Path
) -> None:
    for name, run, overlay in (("shards", sharded, "ddp"), ("copies", copied, "fsdp")):
        (tmp_path / name).mkdir()
        resumed = copy_until(run, tmp_path / name, 3)
        chosen = ["-c", OVERLAYS / f"{overlay}.yaml", "--trainer.devices", 2]
        command(tmp_path, "fit", "--resume", resumed, *chosen)
        check_close(resumed, run)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_as_without_sharding(model: str, text: Path, tmp_path: Path) -> None:
    for name, overlay in (("shards", "fsdp"), ("copies", "ddp")):
        (tmp_path / name).mkdir()
        train(tmp_path / name, text, overlay, *MODELS[model])
    check_close(tmp_path / "shards" / "run", tmp_path / "copies" / "run", rounding_of(model))


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["a codebook", "moving averages"])
def test_a_resume_keeps_what_is_not_sharded(latent: str, text: Path, tmp_path: Path) -> None:
    chosen = MODELS["codebook"]
    if latent == "moving averages":
        chosen = [*VARIATIONAL, "--model.autoencoder.latent.batch_norm", 0.3]
    run = train(tmp_path, text, "fsdp", *chosen)
    (tmp_path / "resumed").mkdir()
    resumed = copy_until(run, tmp_path / "resumed", 3)
    command(tmp_path, "fit", "--resume", resumed)
    assert figures(resumed) == figures(run)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_two_processes_measure(verb: str, sharded: Path, text: Path, tmp_path: Path) -> None:
    given = ["--output", tmp_path / "predictions.jsonl"] if verb == "predict" else []
    said = command(tmp_path, verb, sharded, "--data.test", text, *given)
    if verb == "predict":
        rows = [read_rows(tmp_path / f"predictions.jsonl.{rank}") for rank in (0, 1)]
        assert {row["index"] for part in rows for row in part} == set(range(97))
    else:
        assert f"{'val' if verb == 'validate' else verb}/token_accuracy" in said
