"""Resume equals uninterrupted: losses, sentences and their order; also on other ranks."""

from __future__ import annotations

import csv
import functools
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from ranks import FORKS, run_on_ranks
from small import (
    COMMAND,
    figures,
    numbered,
    read_rows,
    run_seqae,
    with_callback,
    write_recipe,
    write_text,
)

from seqae.batch import Batch
from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import ByteTokenizer
from seqae.training.checkpoints.callback import CheckpointWriter
from seqae.training.lightning_internals import set_loop_progress

# The command turns off such advice of Lightning's; here its classes are used without the command.
ADVICE = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "numbered.txt", numbered(70))


def check_sentences(seen: list[str], expected: list[str]) -> None:
    assert not Counter(expected) - Counter(seen), "a sentence is missing"
    assert not Counter(seen) - Counter(expected), "a sentence came twice"
    assert seen == expected, "the order is another"


# On as many ranks: the same run, bit for bit


class SaveAtStart(Callback):
    """Save the state before the first step; nothing else does."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "step=0.ckpt")


WAYS: dict[str, list[object]] = {
    "plain": [],
    "accumulating": ["--trainer.accumulate_grad_batches", 2],
    "two workers": ["--data.num_workers", 2],
    "two workers, accumulating": [
        *("--data.num_workers", 2, "--trainer.accumulate_grad_batches", 2)
    ],
    "validating within the epoch": ["--trainer.val_check_interval", 2],
    "without validation": ["--data.val_percent", 0],
    "validating at every second epoch": ["--trainer.check_val_every_n_epoch", 2],
    "until a step": ["--trainer.max_epochs", -1, "--trainer.max_steps", 17],
    "saving asynchronously": ["--checkpoint.asynchronous", "true"],
}
MOMENTS = (
    "before the first step",
    "first step",
    "mid-epoch",
    "before the last batch of an epoch",
    "last batch of an epoch",
    "first step of an epoch",
    "before the last step",
    "after the last step",
)


# The plain way from every moment, every way from mid-epoch, and pairs that have reasons to break.
RISKY = {
    ("two workers", "before the first step"),
    ("two workers, accumulating", "last batch of an epoch"),
    ("validating within the epoch", "last batch of an epoch"),
    ("saving asynchronously", "before the last step"),
    ("until a step", "after the last step"),
}
WAYS_AND_MOMENTS = [
    pytest.param(
        way,
        moment,
        marks=()
        if way == "plain" or moment == "mid-epoch" or (way, moment) in RISKY
        else pytest.mark.slow,
    )
    for way in WAYS
    for moment in MOMENTS
]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Callable[[str], Path]:
    """Gives a folder with the uninterrupted run of a way, and what it saw."""
    return functools.cache(lambda way: run_uninterrupted(way, tmp_path_factory, text))


def run_uninterrupted(way: str, tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / "run"]
    arguments += ["--trainer.callbacks", "small.Recorder", "--trainer.callbacks.folder", folder]
    arguments += ["--trainer.callbacks+", "test_resume.SaveAtStart"]
    arguments += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    arguments += ["--model.autoencoder.encoder.dropout", 0.2]
    arguments += ["--model.objective.word_dropout", 0.2, *WAYS[way]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("ignore", None, Warning, None, 0)])
        assert run_seqae("fit", *arguments) == 0
    return folder


def steps_to_resume_from(batches: list[dict[str, Any]]) -> dict[str, int]:
    """Steps taken when the run stops: the kinds of moments that there are."""
    ends = {batch["epoch"]: batch["step"] + 1 for batch in batches}
    last = max(ends.values())
    steps = (0, 1, ends[0] + 2, ends[0] - 1, ends[0], ends[0] + 1, last - 1, last)
    return dict(zip(MOMENTS, steps, strict=True))


@FORKS
@pytest.mark.parametrize(("way", "moment"), WAYS_AND_MOMENTS)
def test_resume_equals_uninterrupted(
    uninterrupted: Callable[[str], Path], tmp_path: Path, way: str, moment: str
) -> None:
    folder = uninterrupted(way)
    whole = read_rows(folder / "rank0.jsonl")
    step = steps_to_resume_from(whole)[moment]
    run = tmp_path / "run"
    shutil.copytree(folder / "run", run, symlinks=True)
    point_to(run, step)

    assert run_seqae("fit", "--resume", run, *recorder(tmp_path)) == 0

    assert figures(run) == figures(folder / "run")
    before = [s for batch in whole if batch["step"] < step for s in batch["sentences"]]
    seen = tmp_path / "rank0.jsonl"
    after = [s for batch in read_rows(seen) for s in batch["sentences"]] if seen.exists() else []
    check_sentences(before + after, [s for batch in whole for s in batch["sentences"]])


LATENT: dict[str, list[object]] = {
    name: ["--model.autoencoder.latent", name, "--model.autoencoder.latent.latent_dim", 16]
    for name in ("DeterministicLatent", "GaussianLatent", "VectorQuantisedLatent")
}
OBJECTIVES: dict[str, list[object]] = {
    "adversarial, with noise": [
        *("--model.objective", "Adversarial", "--model.objective.hidden_dim", 16),
        *("--model.objective.delete", 0.2, "--model.objective.blank", 0.1),
    ],
    "vector-quantised": [*LATENT["VectorQuantisedLatent"], "--model.objective", "Reconstruction"],
    "a KL weight in cycles": [
        *(*LATENT["GaussianLatent"], "--model.objective", "Variational"),
        *("--model.objective.kl_cycles", 3, "--model.objective.kl_warmup_steps", 15),
    ],
    "batch norm, encoder first": [
        *(*LATENT["GaussianLatent"], "--model.autoencoder.latent.batch_norm", 0.3),
        *("--model.objective", "Variational", "--model.objective.aggressive_steps", 9),
        *("--model.objective.encoder_updates", 2),
    ],
    "pretrained, decoder anew": [
        *(*LATENT["GaussianLatent"], "--model.objective", "Variational"),
        *("--model.objective.pretraining_steps", 8),
    ],
}


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    path = run / "checkpoints" / "last.ckpt"
    weights: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return weights


@pytest.mark.parametrize(
    "objective",
    [
        *list(OBJECTIVES)[:2],
        *(pytest.param(name, marks=pytest.mark.slow) for name in list(OBJECTIVES)[2:]),
    ],
)
def test_an_objective_with_a_state_of_its_own(tmp_path: Path, text: Path, objective: str) -> None:
    """To the last bit of the figures and of the weights, from mid-epoch and from its end."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", whole]
    options += ["--model.autoencoder.encoder.dropout", 0.2, *OBJECTIVES[objective]]
    options += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    assert run_seqae("fit", *options) == 0
    end = max(row["step"] for row in figures(whole)) // 3
    expected = final_weights(whole)
    for step in (end - 2, end):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run, symlinks=True)
        point_to(run, step)
        assert run_seqae("fit", "--resume", run) == 0
        assert figures(run) == figures(whole)
        for name, weight in final_weights(run).items():
            assert torch.equal(weight, expected[name]), name


@FORKS
@pytest.mark.parametrize(
    "objective",
    ["vector-quantised", pytest.param("adversarial, with noise", marks=pytest.mark.slow)],
)
def test_two_processes_resume_to_the_last_bit(tmp_path: Path, text: Path, objective: str) -> None:
    """Each has random numbers of its own, which dropout takes."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, *OBJECTIVES[objective]]
    options += ["--model.autoencoder.encoder.dropout", 0.2, "--trainer.max_epochs", 2]
    options += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    assert run_on_ranks(tmp_path / "said", "fit", *options, "--run_dir", whole) == [0, 0]
    shutil.copytree(whole, run, symlinks=True)
    point_to(run, 2)
    assert run_on_ranks(tmp_path / "said", "fit", "--resume", run) == [0, 0]
    assert figures(run) == figures(whole)
    expected = final_weights(whole)
    for name, weight in final_weights(run).items():
        assert torch.equal(weight, expected[name]), name


def point_to(run: Path, step: int) -> None:
    """Let the run's newest checkpoint be that of a step."""
    last = run / "checkpoints" / "last.ckpt"
    last.unlink()
    last.symlink_to(f"step={step}.ckpt")


def recorder(folder: Path) -> list[object]:
    """The options that record what each step saw."""
    return with_callback("small.Recorder", folder=f"{folder}")


class PowerCut(Callback):
    """End the run at a batch, with nothing saved."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch", [1, 7])
def test_a_stop_inside_an_accumulation_window(tmp_path: Path, text: Path, batch: int) -> None:
    """Gradients of half a window are not saved: the window is begun again."""
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--data.val_percent", 0]
    arguments += ["--trainer.accumulate_grad_batches", 4, "--checkpoint.every_n_steps", 1]
    arguments += ["--model.objective.word_dropout", 0.2]
    cut = ["--trainer.callbacks", "test_resume.PowerCut", "--trainer.callbacks.batch", batch]
    assert run_seqae("fit", *arguments, *cut, "--run_dir", tmp_path / "cut") != 0
    if batch < 4:  # nothing was saved: the run is begun anew
        assert not (tmp_path / "cut" / "checkpoints").exists()
        return
    resume = ["--resume", tmp_path / "cut", "--trainer.callbacks", "null"]
    assert run_seqae("fit", *resume) == 0
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "whole") == 0
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")


def test_a_run_killed_in_mid_air_goes_on(tmp_path: Path, text: Path) -> None:
    """A real kill -9, once the run has saved; nothing but what the disk holds is left of it."""
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 10]
    arguments += ["--checkpoint.every_n_steps", 5]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [str(part) for part in (COMMAND, "fit", *arguments, "--run_dir", tmp_path / "killed")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 21:"):
                break
        process.kill()
    assert (tmp_path / "killed" / "checkpoints" / "last.ckpt").exists()

    assert run_seqae("fit", "--resume", tmp_path / "killed") == 0
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "whole") == 0

    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")
    names = {path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()}
    assert not [name for name in names if "unfinished" in name]


def test_a_finished_run_goes_on_with_more_epochs(tmp_path: Path, text: Path) -> None:
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--model.schedule", "constant"]
    short, whole = tmp_path / "short", tmp_path / "whole"
    assert run_seqae("fit", *options, "--trainer.max_epochs", 2, "--run_dir", short) == 0
    assert run_seqae("fit", "--resume", short, "--trainer.max_epochs", 4) == 0
    assert run_seqae("fit", *options, "--trainer.max_epochs", 4, "--run_dir", whole) == 0
    assert figures(short) == figures(whole)


def test_the_rate_follows_the_new_number_of_steps(tmp_path: Path, text: Path) -> None:
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--model.schedule", "linear"]
    options += ["--trainer.callbacks", "lightning.pytorch.callbacks.LearningRateMonitor"]
    run, first, all_of_it = (
        tmp_path / "run",
        ["--trainer.max_steps", 20],
        ["--trainer.max_steps", 40],
    )
    assert run_seqae("fit", *options, *first, "--trainer.max_epochs", -1, "--run_dir", run) == 0
    assert run_seqae("fit", "--resume", run, *all_of_it) == 0
    rates = [row["lr-AdamW/pg1"] for row in figures(run) if "lr-AdamW/pg1" in row]
    # Step 30 is 20 of the 30 steps in which the rate falls from 1e-2; warm-up takes 10.
    assert rates[30] == pytest.approx(1e-2 / 3)


def test_other_loggers_count_on(tmp_path: Path, text: Path) -> None:
    """The step that Lightning hands to them, and W&B shows, neither jumps nor stands still."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", whole]
    options += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    options += ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger"]
    options += ["--trainer.logger.save_dir", "."]  # which is the run's folder
    options += ["--trainer.val_check_interval", 2]
    assert run_seqae("fit", *options) == 0
    expected = logged_steps(whole)
    assert expected == list(range(21))
    for step in (2, 3, 7):  # behind a validation, between two, at the end of an epoch
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(whole, run, symlinks=True)
        shutil.rmtree(run / "lightning_logs")
        point_to(run, step)
        assert run_seqae("fit", "--resume", run) == 0
        assert logged_steps(run) == expected[step:]


def logged_steps(run: Path) -> list[int]:
    """The steps of the training figures in a CSVLogger's newest file."""
    newest = max((run / "lightning_logs").glob("version_*"))
    with (newest / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


# On another number of ranks: each rank is played in turn, so that Lightning's loops run quickly


class PlayedRank(SingleDeviceStrategy):
    """One rank of several; nothing is exchanged with the others."""

    def __init__(self, rank: int, world_size: int) -> None:
        super().__init__(device=torch.device("cpu"))
        self.global_rank, self.world_size = rank, world_size


class Reader(LightningModule):
    """Learns nothing, and writes down what it reads: (epoch, steps taken, sentences) a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, int, list[str]]] = []
        self.validated: list[int] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches  # asks for the loader before the loops do
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_train_start(self) -> None:
        if (start := self.trainer.datamodule.begin_training()) is not None:  # as AutoencoderModule
            set_loop_progress(self.trainer, *start)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        rows = zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True)
        sentences = [bytes(token % 256 for token in row[:n]).hex() for row, n in rows]
        self.seen.append((self.trainer.current_epoch, self.global_step, sentences))
        return self.weight.sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self.validated.append(self.global_step)


class StopAfter(Callback):
    """Ask the training to end after some steps, as an early stop or a pre-emption does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object, **__: object
    ) -> None:
        trainer.should_stop = trainer.global_step == self.steps


Step = tuple[int, int, list[str]]


def play(
    folder: Path, text: Path, ranks: int, checkpoint: Path | None = None, **options: Any
) -> list[Step]:
    """Train on some ranks; the batches, each with the sentences of all ranks in turn.

    Args:
        folder: for checkpoints.
        text: the sentences.
        ranks: how many.
        checkpoint: where to go on.
        options: the trainer's; `every` steps a checkpoint is saved, `stop` ends it early.
    """
    every, stop = options.pop("every", 1), options.pop("stop", -1)
    seen, validated = [], []
    for rank in range(ranks):
        data = TextDataModule(
            ByteTokenizer(), train=str(text), batch_tokens=120, val_percent=10, test_percent=0
        )
        reader = Reader()
        trainer = Trainer(
            strategy=PlayedRank(rank, ranks),
            callbacks=[CheckpointWriter(folder, every, 1000), StopAfter(stop)],
            **{"max_epochs": 3, **QUIET, **options},
        )
        trainer.fit(reader, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        seen.append(reader.seen)
        validated.append(reader.validated)
    assert all(steps == validated[0] for steps in validated)
    together = []
    for batches in zip(*seen, strict=True):
        assert len({batch[:2] for batch in batches}) == 1
        epoch, step, _ = batches[0]
        together.append((epoch, step, [s for _, _, sentences in batches for s in sentences]))
    return together


QUIET: dict[str, Any] = {
    "logger": False,
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}


def sentences_of(batches: list[Step]) -> list[str]:
    return [sentence for _, _, sentences in batches for sentence in sentences]


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory, text: Path) -> list[list[str]]:
    """The sentences of six epochs in the order in which one rank reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [("ignore", None, Warning, None, 0)])
        batches = play(tmp_path_factory.mktemp("one"), text, 1, max_epochs=6)
    return [sentences_of([b for b in batches if b[0] == epoch]) for epoch in range(6)]


ELASTIC: list[tuple[int, int, dict[str, Any]]] = [
    (2, 1, {}),
    (1, 2, {}),
    (1, 3, {}),
    (3, 2, {}),
    (2, 1, {"accumulate_grad_batches": 2}),
    (1, 3, {"accumulate_grad_batches": 2}),
    (2, 1, {"val_check_interval": 2}),
    (1, 3, {"val_check_interval": 2}),
    (2, 1, {"check_val_every_n_epoch": 2}),
    (1, 2, {"max_epochs": -1, "max_steps": 40}),
    (2, 1, {"max_epochs": -1, "max_steps": 40}),
    (2, 2, {"max_epochs": -1, "max_steps": 20}),
]
ALIKE = (1, 5, 6, 9)  # indices of those that differ from another one only in the numbers of ranks


@ADVICE
@pytest.mark.parametrize(
    ("before", "after", "options"),
    [
        pytest.param(
            *case,
            id="{} to {}, {}".format(*case),
            marks=pytest.mark.slow if index in ALIKE else (),
        )
        for index, case in enumerate(ELASTIC)
    ],
)
def test_an_epoch_goes_on_on_other_ranks(
    tmp_path: Path,
    text: Path,
    order: list[list[str]],
    before: int,
    after: int,
    options: dict[str, Any],
) -> None:
    first = play(tmp_path, text, before, **options)
    in_epoch = sum(epoch == 0 for epoch, *_ in first)
    window = options.get("accumulate_grad_batches", 1)
    end = -(-in_epoch // window)
    for step in sorted({1, end - 1, end, end + 1}):
        checkpoint = tmp_path / f"step={step}.ckpt"
        second = play(tmp_path / "resumed", text, after, checkpoint, **options)
        batches = [batch for batch in first if batch[1] < step] + second
        expected = sum(order, [])
        if "max_steps" in options:
            assert len(batches) == options["max_steps"]
            expected = expected[: len(sentences_of(batches))]
        else:
            expected = sum(order[:3], [])
        check_sentences(sentences_of(batches), expected)


@ADVICE
def test_twice_resumed(tmp_path: Path, text: Path, order: list[list[str]]) -> None:
    """Two ranks, then three, then one, within one epoch."""
    first = play(tmp_path / "two", text, 2)
    second = play(tmp_path / "three", text, 3, tmp_path / "two" / "step=2.ckpt")
    third = play(tmp_path / "one", text, 1, tmp_path / "three" / "step=4.ckpt")
    batches = first[:2] + second[:2] + third
    assert [epoch for epoch, *_ in batches[:5]] == [0] * 5
    check_sentences(sentences_of(batches), sum(order[:3], []))


@ADVICE
@pytest.mark.parametrize("how", ["asked to stop", "out of steps"])
@pytest.mark.parametrize("ranks", [(1, 1), (2, 1), (1, 2)], ids=str)
def test_a_run_that_ended_within_an_epoch_goes_on_there(
    tmp_path: Path, text: Path, order: list[list[str]], ranks: tuple[int, int], how: str
) -> None:
    """The end is saved by itself, when Lightning has already counted the epoch."""
    steps = 4
    options = {"stop": steps} if how == "asked to stop" else {"max_steps": steps, "max_epochs": -1}
    first = play(tmp_path, text, ranks[0], every=1000, **options)
    assert len(first) == steps
    more = {} if how == "asked to stop" else {"max_steps": 40, "max_epochs": -1}
    checkpoint = tmp_path / f"step={steps}.ckpt"
    second = play(tmp_path / "resumed", text, ranks[1], checkpoint, every=1000, **more)
    seen = sentences_of(first + second)
    expected = order[:3] if how == "asked to stop" else order
    check_sentences(seen, sum(expected, [])[: max(len(seen), len(sum(order[:2], [])))])


@ADVICE
def test_a_limit_counts_the_steps_of_both(
    tmp_path: Path, text: Path, order: list[list[str]]
) -> None:
    """Of each epoch so many steps are taken, on whatever number of ranks."""
    first = play(tmp_path, text, 2, limit_train_batches=4)
    second = play(tmp_path / "resumed", text, 1, tmp_path / "step=6.ckpt", limit_train_batches=4)
    batches = first[:6] + second
    assert Counter(epoch for epoch, *_ in batches) == {0: 4, 1: 4, 2: 4}
    for epoch in range(3):
        seen = sentences_of([batch for batch in batches if batch[0] == epoch])
        check_sentences(seen, order[epoch][: len(seen)])


@ADVICE
def test_a_limit_by_share_is_refused_within_an_epoch(tmp_path: Path, text: Path) -> None:
    half: dict[str, Any] = {"limit_train_batches": 0.5}
    play(tmp_path, text, 2, **half)
    with pytest.raises(ValueError, match="^`trainer.limit_train_batches` must be a number"):
        play(tmp_path / "within", text, 1, tmp_path / "step=5.ckpt", **half)
    # Four steps are half an epoch: between two there is nothing against it.
    assert play(tmp_path / "between", text, 1, tmp_path / "step=4.ckpt", **half)


# On another number of ranks: real processes, with workers


@FORKS
def test_from_one_process_to_two_with_workers_and_back(tmp_path: Path, text: Path) -> None:
    runs = {name: tmp_path / name for name in ("one", "two", "back")}
    for folder in runs.values():
        folder.mkdir()
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", runs["one"] / "run"]
    options += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100]
    assert run_seqae("fit", *options, *recorder(runs["one"])) == 0
    one = in_turn(runs["one"], 1)
    # Stopped within the second epoch, and again within it on two processes with two workers each.
    stop = max(batch["step"] for batch in one if batch["epoch"] == 0) + 3
    resume_from(runs["one"], stop, runs["two"])
    arguments = ["--resume", runs["two"] / "run", "--data.num_workers", 2]
    arguments += [*recorder(runs["two"])]
    assert run_on_ranks(tmp_path / "said", "fit", *arguments) == [0, 0]
    two = in_turn(runs["two"], 2)
    assert [batch["epoch"] for batch in two[:4]] == [1] * 4
    before = [batch for batch in one if batch["step"] < stop]
    check_sentences(recorded(before + two), recorded(one))

    again = stop + 2
    resume_from(runs["two"], again, runs["back"])
    options = ["--trainer.devices", 1, "--trainer.strategy", "auto", "--data.num_workers", 0]
    options += [*recorder(runs["back"])]
    assert run_seqae("fit", "--resume", runs["back"] / "run", *options) == 0
    back = in_turn(runs["back"], 1)
    assert back[0]["epoch"] == 1
    between = [batch for batch in two if batch["step"] < again]
    check_sentences(recorded(before + between + back), recorded(one))


def resume_from(before: Path, step: int, after: Path) -> None:
    """Copy a run as it was after a step."""
    shutil.copytree(before / "run", after / "run", symlinks=True)
    point_to(after / "run", step)


def in_turn(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """What was recorded: the ranks' batches of a step one after the other."""
    seen = [read_rows(folder / f"rank{rank}.jsonl") for rank in range(ranks)]
    return [batch for step in zip(*seen, strict=True) for batch in step]


def recorded(batches: list[dict[str, Any]]) -> list[str]:
    return [sentence for batch in batches for sentence in batch["sentences"]]
