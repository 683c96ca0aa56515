"""What every swappable part is held to, and the small parts, models and batches to hold it with.

A new class needs no line here: it is found among the subclasses, and the ways to build it are made
up from its signature. Every choice (a Literal, a boolean, one layer or two, a size that may be 0)
is paired with every other that the constructor accepts it with, or all are combined if that gives
few ways. In one more way all other numbers are moved, each to a number of its own, so that no size
is taken for another. All combinations of the choices, each number moved alone, and all choices of a
long list are for the slow tests.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor, nn

import seqae.model
import seqae.objectives
from seqae.batch import Batch, Vocabulary, length_mask
from seqae.component import Component, concrete_subclasses
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import AttentionDecoder, Decoder, GRUDecoder
from seqae.model.encoders import Encoder, GRUEncoder
from seqae.model.half_precision import trains_in_half_precision
from seqae.model.latents import DeterministicLatent, Latent
from seqae.model.memory.cross_attention import Memory
from seqae.model.recurrent import RecurrentStack

for package in (seqae.model, seqae.objectives):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

VOCABULARY = Vocabulary(size=23, pad_id=0, unk_id=1, bos_id=2, eos_id=3)
EMBEDDING_DIM = 6
MEMORY_DIM = 7
MAX_LENGTH = 9
HEADS = ("tied", "linear", "nearest")
LENGTHS = (5, 2, 7, 3)  # 2 is the empty sentence, bos and eos
COUNTS = ("num_layers", "num_latents", "num_groups")  # one, or two
PARTS = {"stretch_length": (2, 3)}  # small, and moved: the sentences have several of these
LONG_LIST, FEW = 5, 6
SLOW = pytest.mark.slow
NEEDS: dict[str, dict[str, Any]] = {"kl_cycles": {"kl_warmup_steps": 8}}  # refused alone


# Classes and the ways to build them


def subclasses(base: type[Component]) -> list[type[Component]]:
    """All classes of the package below `base`, abstract ones too."""
    found = {base}
    for cls in base.__subclasses__():
        found.update(subclasses(cls))
    return sorted(
        (cls for cls in found if cls.__module__.startswith("seqae.")), key=lambda c: c.__name__
    )


def concrete(base: type[Component]) -> list[type[Component]]:
    """The classes of the package below `base` that a user can name."""
    return [c for c in concrete_subclasses(base) if c.__module__.startswith("seqae.")]


def each(*bases: type[Component]) -> list[Any]:
    """One pytest parameter, (class, arguments), for each way to build each class."""
    return [
        pytest.param(cls, arguments, id=_name(cls, arguments), marks=marks)
        for base in bases
        for cls in concrete(base)
        for ways, marks in ((configurations(cls), ()), (more_configurations(cls), SLOW))
        for arguments in ways
    ]


def first_of_each(*bases: type[Component]) -> list[Any]:
    """As `each`, with the usual way to build each class; all others are for the slow tests."""
    ways = each(*bases)
    firsts = {way.values[0]: way for way in reversed(ways)}
    return [
        way if way is firsts[way.values[0]] else pytest.param(*way.values, id=way.id, marks=SLOW)
        for way in ways
    ]


def configurations(cls: type[Component]) -> list[dict[str, Any]]:
    """Arguments for the constructor: small sizes, all pairs of choices, all numbers moved."""
    small, combined = _combined(cls)
    ways = combined if len(combined) <= FEW else pairwise(combined)
    moved = small
    for name in small:
        others = _others(cls, moved, name) or _others(cls, small, name)
        is_varied = others or any(way[name] != small[name] for way in combined)
        assert is_varied, f"{cls.__name__}.{name} is not varied"
        if others and _accepts(cls, moved | others[0]):
            moved = moved | others[0]
        else:  # not together with those that were moved before
            ways = [*ways, *(small | other for other in others[:1])]
    return ways if moved in ways else [*ways, moved]


def more_configurations(cls: type[Component]) -> list[dict[str, Any]]:
    """All combinations of the choices; each number, and each choice of a long list, moved alone."""
    small, combined = _combined(cls)
    few = configurations(cls)
    combined += [small | other for name in small for other in _others(cls, small, name)]
    return [way for way in combined if way not in few]


def pairwise(ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Few of the ways, in which any two arguments have every two values that they have in all."""
    pairs = [set(itertools.combinations_with_replacement(way.items(), 2)) for way in ways]
    missing, chosen = set().union(*pairs), {0}
    while missing := missing.difference(*(pairs[index] for index in chosen)):
        chosen.add(max(range(len(ways)), key=lambda index: len(pairs[index] & missing)))
    return [ways[index] for index in sorted(chosen)]


def _combined(cls: type[Component]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Small arguments, and all combinations of choices that are accepted, those first."""
    hints = get_type_hints(cls.__init__)
    parameters = inspect.signature(cls).parameters
    default = {name: parameter.default for name, parameter in parameters.items()}
    small = {name: _small(cls, name, hints[name], value) for name, value in default.items()}
    choices = {name: _choices(cls, name, hints[name], small) for name in small}
    combined = [
        dict(zip(small, combination, strict=True))
        for combination in itertools.product(*choices.values())
        if combination != tuple(small.values())
    ]
    return small, [way for way in (small, *combined) if _accepts(cls, way)]


def _others(cls: type[Component], usual: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """What a parameter is moved to, with what that needs, while all others stay."""
    hint, value, needs = get_type_hints(cls.__init__)[name], usual[name], NEEDS.get(name, {})
    values: list[Any] = []
    if float in (hint, *get_args(hint)):
        values = [0.25]
    elif name in PARTS:
        values = [PARTS[name][1]]
    elif type(value) is int and name not in COUNTS:
        # A size of its own; twice or half as much if it must be a multiple or a divisor of another.
        largest = max(other for other in usual.values() if type(other) is int)
        moves = (1 + (largest if value > 1 else value), 2 * value, value // 2)
        values = [move for move in moves if _accepts(cls, usual | needs | {name: move})][:1]
    elif get_origin(hint) is Literal and len(get_args(hint)) > LONG_LIST:
        values = [option for option in get_args(hint) if option != value]
    return [{**needs, name: value} for value in values]


def _small(cls: type[Component], name: str, hint: Any, default: Any) -> Any:
    assert default is not inspect.Parameter.empty, f"{cls.__name__}.{name} has no default"
    is_size = type(default) is int and issubclass(cls, nn.Module)
    if name in PARTS:
        return PARTS[name][0]
    return min(default, 8) if is_size else default


def _choices(cls: type[Component], name: str, hint: Any, small: dict[str, Any]) -> list[Any]:
    value, options = small[name], get_args(hint)
    if hint is bool:
        return [False, True]
    if get_origin(hint) is Literal:
        return list(options) if len(options) <= LONG_LIST else [value]
    if get_origin(hint) in (Union, UnionType):
        inner = next(option for option in options if option is not NoneType)
        return [None, *(v for v in _choices(cls, name, inner, small) if v is not None)]
    if hint is int:
        if name in COUNTS:
            return [1, 2]
        sizes = dict.fromkeys((0, value))
        return [size for size in sizes if _accepts(cls, small | {name: size})]
    assert hint in (float, str), f"teach tests/contracts.py to vary {cls.__name__}.{name}: {hint}"
    return [value]


def _accepts(cls: type[Component], arguments: dict[str, Any]) -> bool:
    try:
        cls(**arguments)
    except ValueError:
        return False
    return True


def _name(cls: type[Component], arguments: dict[str, Any]) -> str:
    default = inspect.signature(cls).parameters
    return "-".join(
        [
            cls.__name__,
            *(
                f"{name}={value}"
                for name, value in arguments.items()
                if value != default[name].default and value not in (8, 9)
            ),
            *(f"{name}=9" for name, value in arguments.items() if value == 9),
        ]
    )


# Batches and models


def random_batch(lengths: Sequence[int] = LENGTHS, width: int | None = None) -> Batch:
    """Sentences of the given lengths, `bos words eos`, right-padded; always the same words."""
    generator = torch.Generator().manual_seed(0)
    width = width or max(lengths)
    token_ids = torch.full((len(lengths), width), VOCABULARY.pad_id)
    for row, length in zip(token_ids, lengths, strict=True):
        row[:length] = torch.randint(4, VOCABULARY.size, (length,), generator=generator)
        row[0], row[length - 1] = VOCABULARY.bos_id, VOCABULARY.eos_id
    return Batch(token_ids, torch.tensor(lengths))


def with_other_padding(batch: Batch) -> Batch:
    """The same sentences with words, and even bos and eos, where there was padding."""
    rubbish = torch.randint(1, VOCABULARY.size, batch.token_ids.shape)
    paired = None if batch.targets is None else with_other_padding(batch.targets)
    return Batch(torch.where(batch.mask, batch.token_ids, rubbish), batch.lengths, paired)


def wider(batch: Batch, columns: int) -> Batch:
    """The same sentences with more padding."""
    padded = nn.functional.pad(batch.token_ids, (0, columns), value=VOCABULARY.pad_id)
    paired = None if batch.targets is None else wider(batch.targets, columns)
    return Batch(padded, batch.lengths, paired)


def select(batch: Batch, rows: Tensor) -> Batch:
    """Some rows of a batch."""
    paired = None if batch.targets is None else select(batch.targets, rows)
    return Batch(batch.token_ids[rows], batch.lengths[rows], paired)


def random_embedded(lengths: Sequence[int] = LENGTHS) -> tuple[Tensor, Tensor]:
    """What an encoder reads: (B, T, E) with rubbish in the padding, and its mask."""
    embedded = torch.randn(len(lengths), max(lengths), EMBEDDING_DIM)
    return embedded, length_mask(torch.tensor(lengths), max(lengths))


def build_encoder(cls: type[Encoder], arguments: dict[str, Any]) -> Encoder:
    """An encoder with weights, in evaluation mode."""
    encoder = cls(**arguments)
    encoder.build(EMBEDDING_DIM, MAX_LENGTH)
    return encoder.eval()


def build_decoder(cls: type[Decoder], arguments: dict[str, Any], latent_dim: int = 5) -> Decoder:
    """A decoder with weights, in evaluation mode."""
    decoder = cls(**arguments)
    if isinstance(decoder, AttentionDecoder):
        decoder.build(EMBEDDING_DIM, latent_dim, MAX_LENGTH, memory_dim=MEMORY_DIM)
    else:
        decoder.build(EMBEDDING_DIM, latent_dim, MAX_LENGTH)
    return decoder.eval()


def looked_at(decoder: Decoder, rows: Sequence[int] = range(4)) -> dict[str, Memory]:
    """What a decoder with attention is given of four texts beside the latents; always the same."""
    if not isinstance(decoder, AttentionDecoder):
        return {}
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(LENGTHS), max(LENGTHS), MEMORY_DIM, generator=generator)
    mask = length_mask(torch.tensor(LENGTHS), max(LENGTHS))
    return {"memory": Memory(states, mask, mask.long()).select(torch.as_tensor(rows))}


def make_model(
    encoder: Encoder | None = None,
    latent: Latent | None = None,
    decoder: Decoder | None = None,
    **options: Any,
) -> SequenceAutoencoder:
    """A small model with weights, in evaluation mode; parts not given are GRUs."""
    model = SequenceAutoencoder(
        encoder or GRUEncoder(8, position_dim=8),
        latent or DeterministicLatent(8),
        decoder or GRUDecoder(8, position_dim=8),
        **{"embedding_dim": EMBEDDING_DIM, **options},
    )
    return model.build(VOCABULARY, MAX_LENGTH).eval()


# Checks


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What a call says when it refuses its input: one line that names the key."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message, message
    assert len(message) < 1000, message
    return message


def skip_without_kernels(module: nn.Module) -> None:
    """Skip the test if torch cannot train a layer of this module in bfloat16 on this processor."""
    for stack in module.modules():
        if isinstance(stack, RecurrentStack) and not trains_in_half_precision(
            type(stack), torch.bfloat16, autocast=True
        ):
            pytest.skip(f"torch cannot train an {type(stack).__name__} in bfloat16 on this CPU")


def check_finite(values: object) -> None:
    """Every tensor in (nested) lists, tuples and dicts is finite."""
    for tensor in tensors_in(values):
        assert torch.isfinite(tensor).all()


def tensors_in(values: object) -> Iterator[Tensor]:
    """The tensors in (nested) lists, tuples and dicts."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from tensors_in(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from tensors_in(value)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """The gradient of each trained parameter; one that is not reached is an error."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    unreached = [name for name, grad in zip(trained, found, strict=True) if grad is None]
    assert not unreached, f"no gradient reaches {unreached}"
    return {name: grad for name, grad in zip(trained, found, strict=True) if grad is not None}


def check_reached(found: dict[str, Tensor]) -> None:
    """Every gradient is finite and not all zero."""
    for name, grad in found.items():
        assert torch.isfinite(grad).all(), name
        assert grad.any(), f"the gradient of {name} is zero"


def check_build(make: Callable[[], nn.Module]) -> None:
    """The seed decides the weights, and the weights are all there is.

    A bundle builds the model on `meta` and gives it the state_dict: what is not in there would be
    lost.
    """
    torch.manual_seed(1)
    first = make()
    torch.manual_seed(1)
    second = make()
    torch.manual_seed(2)
    third = make()
    state = first.state_dict()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in state.items())
    if state:
        assert not all(torch.equal(v, third.state_dict()[name]) for name, v in state.items())
    with torch.device("meta"):
        empty = make()
    empty.load_state_dict(state, assign=True)
    left = [n for n, t in [*empty.named_parameters(), *empty.named_buffers()] if t.is_meta]
    assert not left, f"the state_dict lacks {left}"
