"""Private parts of other libraries are where lightning_internals.py and parser.py expect them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from jsonargparse import ArgumentError
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.utils.data import DataLoader

from seqae import lightning_internals as internals
from seqae.parser import OneLineParser, options_of, type_of

LIGHTNINGS_ADVICE = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*is smaller than the logging interval",
    "ignore:.*isinstance.treespec, LeafSpec",
)


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
def test_reloads_are_counted_from_an_epoch(trained: tuple[Trainer, Loads]) -> None:
    trainer, module = trained
    trainer.reload_dataloaders_every_n_epochs = 2
    for reloaded_at, asked in ((trainer.current_epoch - 1, 1), (trainer.current_epoch - 2, 2)):
        internals.count_reloads_from(trainer, reloaded_at)
        trainer.fit_loop.setup_data()
        assert module.asked == asked


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
    assert "self._run_subcommand(self.subcommand)" in inspect.getsource(LightningCLI.__init__)
    assert list(inspect.signature(LightningCLI._run_subcommand).parameters) == [
        "self",
        "subcommand",
    ]


# jsonargparse, whose private parts are in parser.py


def make_parser() -> OneLineParser:
    parser, fit = OneLineParser(exit_on_error=False), OneLineParser(exit_on_error=False)
    parser.add_argument("--top", type=int)
    fit.add_argument("--word", type=Literal["a", "b"], default="a")
    parser.add_subcommands().add_subcommand("fit", fit)
    return parser


def test_options_of_a_parser_and_of_its_subcommands() -> None:
    options = {option.dest: type_of(option) for option in options_of(make_parser())}
    assert options["top"] is int
    assert options["word"] == Literal["a", "b"]


def test_the_parser_of_a_part_raises_where_the_parser_above_exits() -> None:
    """So that the parser above can put the part's key before the key of the argument."""
    with pytest.raises(ArgumentError, match="`\0wrod` is not known. Did you mean `\0word`"):
        make_parser().parse_args(["fit", "--wrod", "a"])
