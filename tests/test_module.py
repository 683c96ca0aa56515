"""AutoencoderModule in a script of one's own: plain Trainer, checkpoints, loaders, own parts."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small import SENTENCES
from torch import nn
from torch.utils.data import DataLoader

import seqae
from seqae import AutoencoderModule, SequenceAutoencoder, TextAutoencoder, TextDataModule
from seqae.data.tokenizers import BPETokenizer, ByteTokenizer
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.objectives import Adversarial, Reconstruction
from seqae.training.checkpoints.description import KEY

pytestmark = [
    # Lightning's advice to whoever writes a Trainer, and its own old call of torch.
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec"),
]


def make_data(tmp_path: Path, texts: Any = SENTENCES, **options: Any) -> TextDataModule:
    settings: dict[str, Any] = {"max_length": 128, "val_percent": 20, "test_percent": 10}
    settings |= {"prepare_workers": 1, "cache_dir": str(tmp_path / "cache")}
    return TextDataModule(ByteTokenizer(), train=texts, **{**settings, **options})


def make_module(objective: Any = None, **options: Any) -> AutoencoderModule:
    torch.manual_seed(0)
    parts = GRUEncoder(8), DeterministicLatent(6), GRUDecoder(8)
    model = SequenceAutoencoder(*parts, embedding_dim=8)
    return AutoencoderModule(model, objective or Reconstruction(), **options)


def make_trainer(tmp_path: Path, steps: int = 2, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Trainer(
        max_steps=steps,
        accelerator="cpu",
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
        **{**quiet, **options},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoencoderModule, Path, Path]:
    """A module that a plain Trainer has trained, its checkpoint, and the folder of its cache."""
    folder = tmp_path_factory.mktemp("trained")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = make_module(Adversarial(), learning_rate=0.5, seed=7)
        trainer = make_trainer(folder, callbacks=[ModelCheckpoint(folder, filename="last")])
        trainer.fit(module, datamodule=make_data(folder))
    return module, folder / "last.ckpt", folder


# Checkpoints


def test_load_from_checkpoint(trained: tuple[AutoencoderModule, Path, Path]) -> None:
    module, path, folder = trained
    loaded = AutoencoderModule.load_from_checkpoint(path)
    expected, found = module.state_dict(), loaded.state_dict()
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert type(loaded.objective) is Adversarial
    assert (loaded.learning_rate, loaded.seed, loaded.training) == (0.5, 7, True)
    assert all(weight.requires_grad for weight in loaded.parameters())
    assert loaded.autoencoder.config() == module.autoencoder.config()

    # It can be measured, used and trained on.
    (metrics,) = make_trainer(folder).test(loaded, datamodule=make_data(folder), verbose=False)
    assert metrics["test/loss"] > 0
    make_trainer(folder).fit(loaded, datamodule=make_data(folder), ckpt_path=path)
    continued = AutoencoderModule.load_from_checkpoint(path, learning_rate=1e-3)
    assert continued.learning_rate == 1e-3
    make_trainer(folder, 1).fit(continued, datamodule=make_data(folder))

    other = make_data(folder, val_percent=0)
    other.tokenizer = BPETokenizer(260)
    message = contracts.refusal(make_trainer(folder).test, loaded, datamodule=other, verbose=False)
    assert message.startswith("`data` must be what the checkpoint was trained on")


def test_what_is_no_checkpoint_is_refused(
    trained: tuple[AutoencoderModule, Path, Path], tmp_path: Path
) -> None:
    load, (_, path, _) = AutoencoderModule.load_from_checkpoint, trained
    assert "there is no" in contracts.refusal(load, tmp_path / "missing.ckpt")
    content = torch.load(path, weights_only=True)

    def changed(change: Any) -> Path:
        copy = {**content, KEY: {**content[KEY], "arguments": dict(content[KEY]["arguments"])}}
        copy["state_dict"] = dict(content["state_dict"])
        change(copy)
        torch.save(copy, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    def grow(content: dict[str, Any]) -> None:
        encoder = {"class_path": "GRUEncoder", "init_args": {"hidden_dim": 2**16}}
        init_args = {**content[KEY]["arguments"]["autoencoder"]["init_args"], "encoder": encoder}
        model = {"class_path": "SequenceAutoencoder", "init_args": init_args}
        content[KEY]["arguments"]["autoencoder"] = model

    weight = "autoencoder.embedding.weight"
    for change, words in (
        (lambda c: c.pop(KEY), "does not: it is older. Use the bundle of its run"),
        (lambda c: c[KEY].pop("vocabulary"), "`vocabulary` must"),
        (lambda c: c.pop("state_dict"), "`state_dict` in"),
        (lambda c: c.update(state_dict=[1]), "`state_dict` in"),
        (lambda c: c.update(state_dict={"weight": 1.0}), "`state_dict` in"),
        (lambda c: c[KEY]["arguments"].update(code="x"), "`code` in"),
        (lambda c: c[KEY]["arguments"].update(objective={"class_path": "os.system"}), "class_path"),
        (lambda c: c[KEY]["arguments"].update(learning_rate="fast"), "`learning_rate` must"),
        (lambda c: c["state_dict"].pop(weight), f"`{weight}` in"),
        (lambda c: c["state_dict"].update({weight: torch.zeros(2, 2)}), f"`{weight}` in"),
        (lambda c: c["state_dict"][weight].fill_(torch.nan), "must be finite"),
        (grow, "must be of the shape that the model has"),  # and takes no memory
    ):
        assert words in contracts.refusal(load, changed(change))
        content = torch.load(path, weights_only=True)
    with pytest.raises(TypeError, match="strict"):
        load(path, strict=False)


# From a module to a bundle


def test_from_module_to_a_bundle(
    trained: tuple[AutoencoderModule, Path, Path], tmp_path: Path
) -> None:
    module, path, folder = trained
    data = make_data(folder)
    assert "the data must be prepared first" in contracts.refusal(
        TextAutoencoder.from_module, module, data
    )
    data.setup("fit")
    model = TextAutoencoder.from_module(module, data)
    assert model.autoencoder is module.autoencoder
    loaded = seqae.load(model.save(tmp_path / "bundle"))
    assert np.array_equal(loaded.encode(["a cat"]), model.encode(["a cat"]))
    assert "val/loss" in loaded.details["metrics"]
    assert [r["reconstruction"] for r in loaded.details["selftest"]] == loaded.reconstruct(
        [r["text"] for r in loaded.details["selftest"]]
    )
    of_checkpoint = TextAutoencoder.from_module(AutoencoderModule.load_from_checkpoint(path), data)
    written = model.reconstruct("a cat", max_length_ratio=0)  # it has not learned to end
    assert of_checkpoint.decode(model.encode("a cat")) == written
    message = contracts.refusal(TextAutoencoder.from_module, make_module(), data)
    assert message.startswith("`module` must be trained, but its model has no weights yet")
    data.tokenizer = data._ready.tokenizer = BPETokenizer(270)
    data.tokenizer.train(SENTENCES)
    message = contracts.refusal(TextAutoencoder.from_module, module, data)
    assert message.startswith("`data` must be what `module` was trained with")


# One's own loop, loaders and parts


def test_forward(trained: tuple[AutoencoderModule, Path, Path]) -> None:
    module, _, _ = trained
    rows = ByteTokenizer().encode(["a cat", "x"])
    batch = seqae.collate(rows, ByteTokenizer().vocabulary)
    assert isinstance(batch, seqae.Batch)
    module.eval()
    logits = module(batch)
    assert logits.shape == (2, 6, 260)
    assert torch.equal(logits, module.autoencoder(batch))
    message = contracts.refusal(module, batch.token_ids)
    assert message.startswith("`batch` must be a seqae.Batch, but it is a Tensor instead.")


def test_loaders_without_a_data_module_are_refused(tmp_path: Path) -> None:
    loader = DataLoader([1, 2], collate_fn=list)
    message = contracts.refusal(make_trainer(tmp_path).fit, make_module(), loader)
    assert message.startswith("`datamodule` must be a TextDataModule")
    assert "the trainer was given a DataLoader instead" in message
    assert "datamodule=TextDataModule(train=sentences)" in message


class OwnLoaders(TextDataModule):
    """Loads with a plain collate function."""

    make_batch: Any = staticmethod(seqae.collate)

    def train_dataloader(self) -> Any:
        rows = self.tokenizer.encode(SENTENCES)
        vocabulary = self.vocabulary
        return DataLoader(rows, 4, collate_fn=lambda rows: self.make_batch(rows, vocabulary))

    val_dataloader = test_dataloader = train_dataloader


def test_own_loaders(tmp_path: Path) -> None:
    options = {"train": SENTENCES, "cache_dir": str(tmp_path), "prepare_workers": 1}
    data, module = OwnLoaders(ByteTokenizer(), **options), make_module()
    trainer = make_trainer(tmp_path, enable_checkpointing=False, val_check_interval=2)
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 2
    assert module.measured["val/loss"] > 0
    data = OwnLoaders(ByteTokenizer(), **options)
    data.make_batch = lambda rows, vocabulary: [torch.tensor(row) for row in rows]
    message = contracts.refusal(make_trainer(tmp_path).fit, make_module(), datamodule=data)
    assert message.startswith("`batch` must be a seqae.Batch, but it is a list instead.")


class OwnEncoder(nn.Module):
    """No Encoder of ours."""


@pytest.mark.parametrize("key", ["encoder", "latent", "decoder"])
@pytest.mark.parametrize("part", [OwnEncoder(), nn.GRU(2, 2), GRUEncoder, None])
def test_a_part_of_another_kind_is_refused(key: str, part: Any) -> None:
    parts = {"encoder": GRUEncoder(), "latent": DeterministicLatent(4), "decoder": GRUDecoder()}
    message = contracts.refusal(SequenceAutoencoder, **{**parts, key: part})
    assert message.startswith(f"`{key}` must be a seqae.model.")


def test_a_module_of_other_parts_is_refused() -> None:
    model = make_module().autoencoder
    message = contracts.refusal(AutoencoderModule, model, nn.CrossEntropyLoss())
    assert message.startswith("`objective` must be a seqae.objectives.objective.Objective")
    message = contracts.refusal(AutoencoderModule, OwnEncoder(), Reconstruction())
    assert "`autoencoder` must be a seqae.model.autoencoder.SequenceAutoencoder" in message


def test_a_run_of_the_command_is_loaded_too(overfit_run: Path) -> None:
    loaded = AutoencoderModule.load_from_checkpoint(overfit_run / "checkpoints" / "last.ckpt")
    assert loaded.autoencoder.vocabulary is not None
    assert loaded.learning_rate == 1e-2
