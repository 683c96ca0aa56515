"""A bundle gives the same model back, and one that anybody has touched is refused in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import resource
import shutil
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import safetensors.torch
import torch

import seqae
from seqae.batch import Vocabulary
from seqae.bundle.io import environment, read_bundle, write_bundle
from seqae.bundle.manifest import CARD, FILES, MANIFEST
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.weights import read_weights, weights_to_bytes
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer
from seqae.generation import Hypothesis
from seqae.model import autoencoder
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import DenseDecoder, GRUDecoder
from seqae.model.encoders import DenseEncoder, GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.priors import GaussianPrior

TEXTS = ["a cat", "", "the cat sat on the mat", "naïve café", "x"]
METRICS = {"val/exact_match": 0.25, "val/loss": 1.5}
TRAINING = {"steps": 10, "config": {"seed": 0}}
MAX_LENGTH = 26


def make(kind: str = "gru", tokenizer: Tokenizer | None = None) -> TextAutoencoder:
    tokenizer = tokenizer or ByteTokenizer()
    torch.manual_seed(0)
    if kind == "gru":
        parts = (
            GRUEncoder(6, position_dim=8),
            DeterministicLatent(5),
            GRUDecoder(7, position_dim=8),
        )
        model = SequenceAutoencoder(*parts, embedding_dim=6)
    else:
        dense = DenseEncoder(6), DeterministicLatent(None, "layer"), DenseDecoder(6, 2)
        model = SequenceAutoencoder(*dense, embedding_dim=6, head="nearest", train_embedding=False)
    return TextAutoencoder(model.build(tokenizer.vocabulary, MAX_LENGTH).eval(), tokenizer)


def save(folder: Path, model: TextAutoencoder) -> Path:
    selftest = [{"text": text, "reconstruction": model.reconstruct([text])[0]} for text in TEXTS]
    write_bundle(folder, model.autoencoder, model.tokenizer, METRICS, TRAINING, selftest)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "bundle", make())


@pytest.fixture
def bundle(saved, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def reseal(folder: Path) -> None:
    """Write the manifest anew, as somebody would who changes a bundle on purpose."""
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in FILES]
    (folder / MANIFEST).write_text("".join(lines))


def edit(folder: Path, change: Callable[[dict[str, Any]], object], name="config.json") -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    reseal(folder)


# Save and load


@pytest.mark.parametrize("kind", ["gru", "dense"])
@pytest.mark.parametrize("bpe", [False, True])
def test_load_gives_the_same_model_to_the_bit(kind, bpe, tmp_path):
    tokenizer = BPETokenizer(vocab_size=270) if bpe else ByteTokenizer()
    tokenizer.train(TEXTS * 3)
    model = make(kind, tokenizer)
    loaded = seqae.load(save(tmp_path / "bundle", model))
    expected, found = model.autoencoder.state_dict(), loaded.autoencoder.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert loaded.autoencoder.config() == model.autoencoder.config()
    assert loaded.tokenizer.to_json() == tokenizer.to_json()
    latents = model.encode(TEXTS)
    assert np.array_equal(loaded.encode(TEXTS), latents)
    written = loaded.reconstruct(TEXTS, max_length_ratio=0)  # the model is untrained
    assert loaded.decode(latents) == model.decode(latents) == written
    assert loaded.details["metrics"] == METRICS
    assert loaded.details["training"] == TRAINING
    stored = [row["reconstruction"] for row in loaded.details["selftest"]]
    assert stored == model.reconstruct(TEXTS)
    trained = [name for name, p in loaded.autoencoder.named_parameters() if p.requires_grad]
    assert trained == [n for n, p in model.autoencoder.named_parameters() if p.requires_grad]
    assert not loaded.autoencoder.training


def test_a_run_is_loaded_by_its_folder(saved):
    assert (
        seqae.load(saved.parent).encode(TEXTS).tolist() == seqae.load(saved).encode(TEXTS).tolist()
    )


@pytest.mark.parametrize("device", ["meta", "warp"])
def test_a_device_that_does_not_compute_is_refused(saved, device):
    message = contracts.refusal(seqae.load, saved, device)
    assert message.startswith("`device` must be one that this machine has, but it is " + device)


def test_a_bundle_holds_no_path_and_no_pickle(saved):
    assert sorted(os.listdir(saved)) == sorted([*FILES, CARD, MANIFEST])
    for path in saved.iterdir():
        data = path.read_bytes()
        assert str(saved.parent).encode() not in data
        assert not data.startswith((b"\x80", b"PK"))
    assert json.loads((saved / "environment.json").read_text()) == environment()
    assert environment()["torch"] == torch.__version__
    assert safetensors.torch.load_file(saved / "model.safetensors").keys() == (
        make().autoencoder.state_dict().keys()
    )


def test_the_same_model_makes_the_same_bundle(saved, tmp_path):
    again = save(tmp_path / "again", make())
    assert (again / MANIFEST).read_bytes() == (saved / MANIFEST).read_bytes()


@pytest.mark.parametrize(
    ("umask", "file_mode", "folder_mode"), [(0o027, 0o640, 0o750), (0, 0o666, 0o777)]
)
def test_modes_follow_the_umask(tmp_path, umask, file_mode, folder_mode):
    before = os.umask(umask)
    try:
        folder = save(tmp_path / "bundle", make())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == folder_mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {file_mode}


# Replace


def test_a_bundle_is_replaced(bundle):
    other = make("dense")
    save(bundle, other)
    assert np.array_equal(seqae.load(bundle).encode(TEXTS), other.encode(TEXTS))
    assert os.listdir(bundle.parent) == ["bundle"]


@pytest.mark.parametrize("calls", range(len(FILES) + 2))
def test_an_error_while_writing_leaves_the_old_one(bundle, monkeypatch, calls):
    left = calls

    def fsync(_: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        save(bundle, make("dense"))
    monkeypatch.undo()
    check_old_one(bundle)


@pytest.mark.parametrize("failing", [1, 2])
def test_an_error_while_renaming_leaves_the_old_one(bundle, monkeypatch, failing):
    rename, calls = Path.rename, 0

    def fail_once(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="Input/output"):
        save(bundle, make("dense"))
    monkeypatch.undo()
    check_old_one(bundle)


def test_weights_that_are_not_finite_leave_the_old_one(bundle):
    model = make()
    with torch.no_grad():
        model.autoencoder.embedding.weight[3, 1] = math.inf
    message = contracts.refusal(
        write_bundle, bundle, model.autoencoder, model.tokenizer, METRICS, TRAINING, []
    )
    assert message.startswith("`embedding.weight` of the model must be finite")
    check_old_one(bundle)


def check_old_one(bundle: Path) -> None:
    assert os.listdir(bundle.parent) == ["bundle"]
    assert np.array_equal(seqae.load(bundle).encode(TEXTS), make().encode(TEXTS))


# Damage


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_file_is_refused(saved, tmp_path, name):
    path = tmp_path / "bundle" / name
    original = (saved / name).read_bytes()

    def refused() -> None:
        assert name in contracts.refusal(seqae.load, path.parent) or name == MANIFEST
        path.unlink(missing_ok=True)

    shutil.copytree(saved, path.parent)
    for place in (0, len(original) // 2, len(original) - 1):
        changed = bytearray(original)
        changed[place] ^= 1
        path.write_bytes(changed)
        refused()
    for data in (original[:-1], original[: len(original) // 2], b"", original + b"\n"):
        path.write_bytes(data)
        refused()
    refused()  # it is not there
    path.symlink_to(saved / name)
    refused()
    path.symlink_to(tmp_path / "nowhere")
    refused()
    os.mkfifo(path)
    refused()
    path.mkdir()
    contracts.refusal(seqae.load, path.parent)


def test_a_huge_file_is_refused_before_it_is_hashed(bundle):
    os.truncate(bundle / "training.json", 2**33)  # of which the disk holds a few bytes
    message = contracts.refusal(seqae.load, bundle)
    assert "training.json has 8,589,934,592 bytes, and may have 4,194,304" in message


def test_a_bundle_whose_manifest_lists_the_card_is_read(bundle):
    with (bundle / MANIFEST).open("a") as manifest:
        manifest.write(f"{hashlib.sha256(b'another').hexdigest()}  {CARD}\n")
    assert seqae.load(bundle).encode(TEXTS).shape == (len(TEXTS), make().latent_dim)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "nothing", tmp_path / "file", tmp_path):
        assert str(path) in contracts.refusal(seqae.load, path)


# Changed on purpose, the manifest too


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_an_added_line_in_the_manifest_is_refused(bundle, name):
    path = bundle / MANIFEST
    path.write_text(path.read_text() + f"{'0' * 64}  extra-{name}\n")
    contracts.refusal(seqae.load, bundle)


CHANGES_OF_CONFIG: list[Callable[[dict[str, Any]], object]] = [
    lambda c: c.update(format=2),
    lambda c: c.update(format="1"),
    lambda c: c.pop("format"),
    lambda c: c.update(more=1),
    lambda c: c.pop("autoencoder"),
    lambda c: c.update(autoencoder=[]),
    lambda c: c["autoencoder"].update(more=1),
    lambda c: c["autoencoder"].update(class_path="GRUEncoder"),
    lambda c: c["autoencoder"].update(class_path="os.system"),
    lambda c: c["autoencoder"]["init_args"].update(more=1),
    lambda c: c["autoencoder"]["init_args"].pop("encoder"),
    lambda c: c["autoencoder"]["init_args"].update(encoder=None),
    lambda c: c["autoencoder"]["init_args"].update(head="other"),
    lambda c: c["autoencoder"]["init_args"].update(embedding_dim=7),
    lambda c: c["autoencoder"]["init_args"].update(embedding_dim="6"),
    lambda c: c["autoencoder"]["init_args"].update(embedding_dropout=math.nan),
    lambda c: encoder(c).update(class_path="NoSuchEncoder"),
    lambda c: encoder(c).update(class_path="torch.nn.GRU"),
    lambda c: encoder(c)["init_args"].update(hidden_dim=5),
    lambda c: encoder(c)["init_args"].update(bidirectional=1),
    lambda c: encoder(c)["init_args"].update(num_layers=2),
    lambda c: encoder(c)["init_args"].update(hook="os.system"),
    lambda c: c.pop("tokenizer"),
    lambda c: c["tokenizer"].update(class_path="WordTokenizer"),
    lambda c: c["vocabulary"].update(size=261),
    lambda c: c["vocabulary"].update(eos_id=2),
    lambda c: c["vocabulary"].pop("pad_id"),
    lambda c: c.pop("vocabulary"),
    lambda c: c.update(max_length=27),
    lambda c: c.update(max_length=26.0),
    lambda c: c.update(max_length=True),
    lambda c: c.update(max_length=2),
    lambda c: c.update(max_length=10**30),
    lambda c: c.pop("max_length"),
]


def test_another_config_is_refused(bundle):
    content = (bundle / "config.json").read_bytes()
    for change in CHANGES_OF_CONFIG:
        (bundle / "config.json").write_bytes(content)
        edit(bundle, change)
        contracts.refusal(seqae.load, bundle)


def encoder(config: dict[str, Any]) -> dict[str, Any]:
    return config["autoencoder"]["init_args"]["encoder"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\xfa", b"[" * 10**6, b"1" * 10**5],
    ids=["empty", "open", "not UTF-8", "deep", "long"],
)
def test_what_is_no_json_is_refused(bundle, data):
    for name in ("config.json", "metrics.json", "training.json", "selftest.json"):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(data)
        reseal(bundle)
        assert name in contracts.refusal(seqae.load, bundle)
        (bundle / name).write_bytes(content)


@pytest.mark.parametrize("content", ["[]", "null", "7", '"format"'])
def test_a_config_that_is_no_object_is_refused(bundle, content):
    (bundle / "config.json").write_text(content)
    reseal(bundle)
    contracts.refusal(seqae.load, bundle)


def test_huge_sizes_are_refused_before_memory_is_given_to_them(bundle):
    def grow(config: dict[str, Any]) -> None:
        config["max_length"] = autoencoder.MAX_LENGTH
        config["autoencoder"]["init_args"]["embedding_dim"] = 2**16
        encoder(config)["init_args"].update(hidden_dim=2**16, num_layers=64, position_dim=2**16)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    edit(bundle, grow)
    message = contracts.refusal(seqae.load, bundle)
    assert "model.safetensors" in message
    # Now the header promises them too: terabytes, of which the file has none.
    config = json.loads((bundle / "config.json").read_text())
    with torch.device("meta"):
        promised = SequenceAutoencoder.from_config(config["autoencoder"]).build(
            Vocabulary(**config["vocabulary"]), config["max_length"]
        )
    header, end = {}, 0
    for name, tensor in promised.state_dict().items():
        size = tensor.numel() * 4
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    assert end > 10**12
    write_header(bundle, header, b"\0" * 1024)
    assert "is damaged" in contracts.refusal(seqae.load, bundle)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB
    assert grown < 100_000


def test_the_tokenizer_of_another_bundle_is_refused(tmp_path):
    """Of the same class and size, so that only its tokens differ."""
    bundles = []
    for name, texts in (("one", ["aaa bbb ccc"] * 9), ("other", ["xyz xyy zzx"] * 9)):
        tokenizer = BPETokenizer(vocab_size=263)
        tokenizer.train(texts)
        bundles.append(save(tmp_path / name, make(tokenizer=tokenizer)))
    first, second = bundles
    configs = [json.loads((folder / "config.json").read_text()) for folder in bundles]
    assert configs[0]["tokenizer"] == configs[1]["tokenizer"]
    assert configs[0]["vocabulary"] == configs[1]["vocabulary"]
    shutil.copy(second / "tokenizer.json", first / "tokenizer.json")
    reseal(first)
    assert "tokenizer" in contracts.refusal(seqae.load, first)


def test_a_tokenizer_of_another_kind_is_refused(bundle):
    tokenizer = BPETokenizer(vocab_size=260)
    tokenizer.train(TEXTS)
    assert tokenizer.vocabulary == ByteTokenizer().vocabulary
    tokenizer.save(bundle / "tokenizer.json")
    reseal(bundle)
    contracts.refusal(seqae.load, bundle)


# Weights


def write_header(folder: Path, header: dict[str, Any] | bytes, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    reseal(folder)


def split_file(folder: Path) -> tuple[dict[str, Any], bytes]:
    data = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


NAME = "latent.projection.weight"  # (5, 8)


CHANGES_OF_HEADER: list[Callable[[dict[str, Any]], object]] = [
    lambda h: h.update(more=h[NAME]),
    lambda h: h.pop(NAME),
    lambda h: h.update({NAME + "2": h.pop(NAME)}),
    lambda h: h[NAME].update(shape=[8, 5]),
    lambda h: h[NAME].update(shape=[40]),
    lambda h: h[NAME].update(shape=[5, 8, 1]),
    lambda h: h[NAME].update(shape=[5.0, 8.0]),
    lambda h: h[NAME].update(shape=None),
    lambda h: h[NAME].update(dtype="F16"),
    lambda h: h[NAME].update(dtype="I32"),
    lambda h: h[NAME].update(dtype=4),
    lambda h: h[NAME].update(data_offsets=h["latent.projection.bias"]["data_offsets"]),
    lambda h: h[NAME].update(data_offsets=h["embedding.weight"]["data_offsets"]),  # overlap
    lambda h: h[NAME].update(data_offsets=[h[NAME]["data_offsets"][0], 2**62]),
    lambda h: h[NAME].update(data_offsets=[-160, 0]),
    lambda h: h[NAME].update(data_offsets=h[NAME]["data_offsets"][::-1]),
    lambda h: h[NAME].update(data_offsets="all"),
    lambda h: h[NAME].pop("data_offsets"),
    lambda h: h.update({NAME: 7}),
    lambda h: h.update(__metadata__=7),
]


def test_a_hostile_header_is_refused(bundle):
    original, data = split_file(bundle)
    for change in CHANGES_OF_HEADER:
        header = copy.deepcopy(original)
        change(header)
        write_header(bundle, header, data)
        message = contracts.refusal(seqae.load, bundle)
        assert "model.safetensors" in message, header


def test_of_a_name_given_twice_the_last_counts(bundle):
    """For our parser and for the library's, so that none of them sees what the other did not."""
    header, data = split_file(bundle)
    right, wrong = header[NAME], header[NAME] | {"shape": [8, 5]}
    text = json.dumps(header)[1:-1]
    for first, last in ((wrong, right), (right, wrong)):
        pairs = (f'"{NAME}": {json.dumps(entry)}' for entry in (first, last))
        twice = text.replace(f'"{NAME}": {json.dumps(right)}', ", ".join(pairs))
        write_header(bundle, f"{{{twice}}}".encode(), data)
        if last is right:
            assert np.array_equal(seqae.load(bundle).encode(TEXTS), make().encode(TEXTS))
        else:
            assert "[8, 5]" in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("length", [0, 1, 2**24 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_of_another_length_is_refused(bundle, length):
    path = bundle / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    reseal(bundle)
    assert "is damaged" in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 8, struct.pack("<Q", 2) + b"[]"])
def test_a_file_without_a_header_is_refused(bundle, data):
    (bundle / "model.safetensors").write_bytes(data)
    reseal(bundle)
    assert "is damaged" in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("header", [b"[" * 10**5, b'{"a": \xff}', b"{} {}", b"7", b'{"a": []}'])
def test_a_header_that_is_no_list_of_tensors_is_refused(bundle, header):
    write_header(bundle, header, b"")
    assert "is damaged" in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("change", [lambda d: d[:-4], lambda d: d + b"\0\0\0\0", lambda d: b""])
def test_more_or_less_data_is_refused(bundle, change):
    header, data = split_file(bundle)
    write_header(bundle, header, change(data))
    assert "is damaged" in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(bundle, value):
    path = bundle / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors[NAME] = tensors[NAME].clone()
    tensors[NAME][2, 3] = value
    path.write_bytes(safetensors.torch.save(tensors))
    reseal(bundle)
    message = contracts.refusal(seqae.load, bundle)
    assert message.startswith(f"`{NAME}` of ")
    assert "must be finite" in message
    assert message.endswith("Get the file again.")  # it is not ours to train


def test_weights_round_trip_whatever_their_layout(tmp_path):
    tensors = {
        "transposed": torch.randn(3, 4).t(),
        "part": torch.randn(6)[::2],
        "half": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(2.0),
        "empty": torch.zeros(0, 3),
        "count": torch.tensor([2**40]),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_to_bytes(tensors))
    found = read_weights(path, {name: t.to("meta") for name, t in tensors.items()})
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert all(found[name].dtype == tensor.dtype for name, tensor in tensors.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits_are_read_as_float32(tmp_path, dtype):
    tensors = {"weight": torch.randn(64, 64), "count": torch.tensor([7])}
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_to_bytes(tensors, dtype))
    assert path.stat().st_size < 2 * 64 * 64 + 1000
    found = read_weights(path, {name: t.to("meta") for name, t in tensors.items()})
    assert torch.equal(found["weight"], tensors["weight"].to(dtype).float())
    assert torch.equal(found["count"], tensors["count"])


def test_a_weight_that_16_bits_cannot_hold_is_refused():
    message = contracts.refusal(weights_to_bytes, {"weight": torch.tensor([1e5])}, torch.float16)
    assert message.startswith("`weight` of the model must be finite")


# The other files


def test_read_bundle_gives_the_parts(saved):
    autoencoder, tokenizer, normalization, details = read_bundle(saved)
    assert autoencoder.max_length == MAX_LENGTH
    assert autoencoder.vocabulary == tokenizer.vocabulary == ByteTokenizer().vocabulary
    assert set(details) == {"metrics", "training", "selftest"}


# Text in, text out


@pytest.mark.parametrize("kind", ["gru", "dense"])
def test_latents_are_in_the_order_of_the_texts(kind):
    model = make(kind)
    latents = model.encode(TEXTS)
    assert latents.shape == (5, model.latent_dim)
    assert latents.dtype == np.float32
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(model.encode([text])[0], latents[row], atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS[::-1]), latents[::-1], atol=1e-5)


def test_many_texts_are_encoded_in_more_than_one_batch(monkeypatch):
    model = make()
    texts = [f"{number} {'x' * (number % 17)}" for number in range(300)]
    latents = model.encode(texts)
    monkeypatch.setattr("seqae.bundle.codec.BATCH_TOKENS", 64)
    np.testing.assert_allclose(model.encode(texts), latents, atol=1e-5)
    assert len(model.decode(latents)) == 300  # more than one chunk


def test_no_texts():
    model = make()
    assert model.encode([]).shape == (0, 5)
    assert model.decode(np.zeros((0, 5))) == []
    assert model.reconstruct([]) == []


def test_a_long_text_is_an_error_or_truncated():
    model = make()
    texts = ["ok", "x" * (MAX_LENGTH - 1)]
    message = contracts.refusal(model.encode, texts)
    assert message.startswith(f"`max_length` of this model is {MAX_LENGTH} tokens, but the text at")
    assert "index 1" in message
    found = model.encode(texts, too_long="truncate")
    np.testing.assert_allclose(found[1], model.encode(["x" * (MAX_LENGTH - 2)])[0], atol=1e-6)
    contracts.refusal(model.encode, texts, too_long="drop")


@pytest.mark.parametrize("latents", [np.zeros(4), np.zeros((2, 4)), np.zeros((1, 2, 5))])
def test_latents_of_another_shape_are_refused(latents):
    assert contracts.refusal(make().decode, latents).startswith("`latents` must be of shape (n, 5)")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_latents_that_are_not_finite_are_refused(value):
    latents = np.zeros((3, 5))
    latents[1, 2] = value
    assert "must be finite" in contracts.refusal(make().decode, latents)


def test_a_model_with_huge_weights_is_refused():
    model = make()
    with torch.no_grad():
        for weight in model.autoencoder.latent.parameters():
            weight.fill_(3e38)
    message = contracts.refusal(model.encode, ["a cat"])
    assert message.startswith("`model` must encode to finite latents, but that of the text at")
    assert "index 0" in message


@pytest.mark.parametrize("seed", [-1, 2**32, 2**65])
def test_an_impossible_seed_is_refused(seed):
    model, latents = make(), np.zeros((1, 5))
    for call in (
        lambda: model.decode(latents, seed=seed),
        lambda: model.sample_latents(1, "prior", seed),
        lambda: GaussianPrior().fit(torch.zeros(3, 2), seed=seed),
    ):
        assert contracts.refusal(call).startswith("`seed` must be between 0 and 4,294,967,295")


def test_drawn_tokens_do_not_follow_from_drawn_latents(monkeypatch):
    """Torch makes the 1st and the 9th of 16 normal numbers from two uniform ones, of which one
    alone gives their radius (Box and Muller). From the same seed a token is drawn with that one:
    the correlation was 0.97.
    """
    model = make()
    radii, uniform = [], []

    def generate(_: Any, latents: torch.Tensor, *__: Any, generator: Any, **___: Any) -> Any:
        uniform.append(float(torch.rand(1, generator=generator)))
        return [[Hypothesis([], 0.0)] for _ in latents]

    monkeypatch.setattr("seqae.bundle.codec.generate", generate)
    for seed in range(400):
        latents = model.sample_latents(16, "prior", seed)
        radii.append(np.hypot(*latents.flatten()[[0, 8]]))
        model.decode(latents, seed=seed)
    assert abs(np.corrcoef(radii, uniform)[0, 1]) < 0.2


def test_the_mode_of_the_model_is_put_back():
    model = make()
    model.autoencoder.train()
    texts = model.reconstruct(["a cat"])
    assert model.autoencoder.training
    model.autoencoder.eval()
    assert model.reconstruct(["a cat"]) == texts
    assert not model.autoencoder.training


# Normalization


def test_text_is_written_as_in_training(tmp_path):
    model = make()
    folder = tmp_path / "bundle"
    rules = Normalization("NFKC", lowercase=True, collapse_whitespace=True)
    write_bundle(folder, model.autoencoder, model.tokenizer, METRICS, TRAINING, [], rules)
    loaded = seqae.load(folder)
    assert loaded.normalization == rules
    odd, plain = loaded.encode(["Ｔhe \n CAT", "the cat"])
    np.testing.assert_allclose(odd, plain, atol=1e-6)
    np.testing.assert_allclose(odd, model.encode(["the cat"])[0], atol=1e-6)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"unicode_form": "NFX", "lowercase": False, "collapse_whitespace": False},
        {"unicode_form": None, "lowercase": 1, "collapse_whitespace": False},
        {"unicode_form": [], "lowercase": False, "collapse_whitespace": False},
        {"unicode_form": None, "lowercase": False, "collapse_whitespace": False, "x": 1},
    ],
)
def test_another_normalization_is_refused(bundle, told):
    config = json.loads((bundle / "config.json").read_text())
    config["normalization"] = told
    (bundle / "config.json").write_text(json.dumps(config))
    reseal(bundle)
    assert contracts.refusal(seqae.load, bundle).startswith("`normalization`")
