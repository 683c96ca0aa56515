"""Private parts of other libraries are where lightning_internals.py and parser.py expect them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils.data import DataLoader

from seqae.training import lightning_internals as internals

LIGHTNINGS_ADVICE = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*is smaller than the logging interval",
    "ignore:.*isinstance.treespec, LeafSpec",
)


class Measures(LightningModule):
    """Logs one value."""

    def test_step(self, batch: Any) -> None:
        self.log("test/share", torch.tensor(0.5))


class Loads(LightningModule):
    """Counts how often Lightning asks for its training loader."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.asked = 0

    def train_dataloader(self) -> DataLoader[Any]:
        self.asked += 1
        return DataLoader([1.0, 2.0])  # type: ignore[arg-type]

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight * batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), fused=True)


def make_trainer(**options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


@pytest.fixture
def trained() -> tuple[Trainer, Loads]:
    module, trainer = Loads(), make_trainer(max_epochs=1)
    trainer.fit(module)
    return trainer, module


@LIGHTNINGS_ADVICE
def test_another_table_of_results(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[Any] = []
    trainer = make_trainer()
    internals.replace_results_table(trainer, lambda *what: shown.append(what))
    loader: DataLoader[Any] = DataLoader([1.0])  # type: ignore[arg-type]
    trainer.test(Measures(), loader)
    assert shown == [([{"test/share": torch.tensor(0.5)}], "test")]
    trainer.test(Measures(), loader, verbose=False)
    assert len(shown) == 1
    assert "test/share" not in capsys.readouterr().out


def test_instructions_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the operating system lists them, where it does."""
    listed = Path("/proc/cpuinfo")
    flags = listed.read_text().split() if listed.exists() else []
    if "avx2" in flags:
        assert internals.multiplies_bfloat16() == ("avx512_bf16" in flags or "amx_tile" in flags)
        assert internals.multiplies_float16() == ("amx_fp16" in flags)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported")
    for name in names:
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not internals.multiplies_bfloat16()
    assert not internals.multiplies_float16()


def test_the_scaler_unscales_the_gradients_of_a_fused_optimizer() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], fused=True)
    assert optimizer._step_supports_amp_scaling
    internals.leave_unscaling_to_scaler(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(weight.sum()).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [8.0, 8.0]
    scaler.step(optimizer)
    assert weight.grad.tolist() == [1.0, 1.0]  # it would be 8 if the optimizer did it


def test_a_tree_is_mapped_leaf_by_leaf() -> None:
    assert internals.map_tree(lambda leaf: 2 * leaf, {"a": [1, (2,)]}) == {"a": [2, (4,)]}


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_a_nested_state_is_rebuilt(tmp_path: Path) -> None:
    state = {"a": {"b": torch.ones(2), "c": [{"d": torch.zeros(1)}]}}
    save(state, storage_writer=FileSystemWriter(tmp_path), planner=DefaultSavePlanner())
    metadata = FileSystemReader(tmp_path).read_metadata()
    flat = {name: name for name in metadata.state_dict_metadata}
    assert set(flat) != {"a"}
    assert internals.unflatten(flat, metadata.planner_data) == {
        "a": {"b": "a.b", "c": [{"d": "a.c.0.d"}]}
    }


def test_processes_that_lightning_started() -> None:
    assert internals.child_processes(make_trainer()) == []
    trainer = make_trainer(devices=2, strategy=DDPStrategy())
    trainer.strategy._configure_launcher()
    assert isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher)
    assert internals.child_processes(trainer) == []
    trainer.strategy.launcher.procs.append("a process")  # type: ignore[arg-type]
    assert internals.child_processes(trainer) == ["a process"]


def test_sizes_of_a_strategy_that_shards() -> None:
    """Lightning's own names: it sets them up in `setup_environment`."""
    strategy = ModelParallelStrategy()
    assert (strategy._data_parallel_size, strategy._tensor_parallel_size) == ("auto", "auto")
    source = inspect.getsource(ModelParallelStrategy.setup_environment)
    assert 'self._data_parallel_size == "auto"' in source
    assert 'self._tensor_parallel_size == "auto"' in source
    strategy.num_nodes, strategy.parallel_devices = 2, [torch.device("cpu")] * 3
    internals.share_one_model(strategy)
    assert (strategy._data_parallel_size, strategy._tensor_parallel_size) == (6, 1)


@LIGHTNINGS_ADVICE
def test_a_forgotten_loader_is_asked_for_again(trained: tuple[Trainer, Loads]) -> None:
    trainer, module = trained
    assert module.asked == 1
    trainer.fit_loop.setup_data()
    assert module.asked == 1
    internals.forget_train_loader(trainer)
    trainer.fit_loop.setup_data()
    assert module.asked == 2


@LIGHTNINGS_ADVICE
def test_the_last_step_changes_during_a_training() -> None:
    class Ends(Callback):
        def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
            internals.set_max_steps(trainer, 3)

    trainer = make_trainer(max_epochs=4, callbacks=[Ends()])
    trainer.fit(Loads())
    assert trainer.global_step == trainer.max_steps == trainer.estimated_stepping_batches == 3


@LIGHTNINGS_ADVICE
def test_batches_that_stepped_stand_in_the_state_of_the_loop(
    trained: tuple[Trainer, Loads],
) -> None:
    trainer, _ = trained
    state = trainer.fit_loop.state_dict()
    stepped = trainer.fit_loop.epoch_loop._batches_that_stepped
    assert stepped == 2
    internals.rewind_stepped_batches(state, 1)
    trainer.fit_loop.load_state_dict(state)
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 1


def test_the_methods_of_the_command_line_that_are_overridden() -> None:
    """LightningCLI runs a subcommand at the end of its constructor."""
    constructor = inspect.getsource(LightningCLI.__init__)
    assert "self._run_subcommand(self.subcommand)" in constructor
    assert "self._parse_ckpt_path()" in constructor  # ours takes no settings from the checkpoint
    assert list(inspect.signature(LightningCLI._run_subcommand).parameters) == [
        "self",
        "subcommand",
    ]


class Counted(LightningModule):
    """Five batches an epoch: writes down (epoch, batch) of each, and counts loaders."""

    def __init__(self, start: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.start, self.seen, self.loaders = start, [], 0  # type: ignore[var-annotated]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> Any:
        self.loaders += 1
        return DataLoader(list(torch.arange(5.0)), batch_size=1)

    def on_train_start(self) -> None:
        if self.start is not None:
            internals.set_loop_progress(self.trainer, *self.start)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.trainer.current_epoch, batch_idx))
        return self.weight.sum()


def train(module: Counted, **options: Any) -> None:
    make_trainer(devices=1, **options).fit(module)


@LIGHTNINGS_ADVICE
@pytest.mark.parametrize(
    ("start", "epochs"), [((1, 0), [1] * 5 + [2] * 5), ((2, 0), [2] * 5), ((0, 0), None)]
)
def test_loops_start_at_an_epoch(start: tuple[int, int], epochs: list[int] | None) -> None:
    module = Counted(start)
    train(module, max_epochs=3)
    expected = [0] * 5 + [1] * 5 + [2] * 5 if epochs is None else epochs
    assert [epoch for epoch, _ in module.seen] == expected


@LIGHTNINGS_ADVICE
def test_loops_start_within_an_epoch() -> None:
    loop: Any = make_trainer(devices=1).fit_loop
    assert {"_combined_loader", "_last_train_dl_reload_epoch", "epoch_loop"} <= vars(loop).keys()
    internals.set_loop_progress(loop.trainer, 1, 3)
    assert (loop.epoch_progress.current.ready, loop.epoch_progress.current.completed) == (2, 1)
    assert loop.restarting
    assert loop.epoch_loop.restarting
    assert loop.restarted_mid_epoch  # what `update_restart_stage` finds
