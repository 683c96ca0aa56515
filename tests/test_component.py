"""A part says in plain data how it was built, and is rebuilt from it; nothing else is accepted."""

from __future__ import annotations

import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import contracts
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqae.component import (
    Component,
    check_choice,
    check_literal,
    check_range,
    concrete_subclasses,
    from_plain,
)
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import Decoder, DenseDecoder, GRUDecoder
from seqae.model.encoders import DenseEncoder, Encoder, GRUEncoder, TransformerEncoder
from seqae.model.latents import DeterministicLatent, Latent
from seqae.objectives import MeanSquaredError, Objective, Reconstruction

BASES = (Encoder, Latent, Decoder, Objective, Tokenizer)
CONCRETE = [cls for base in BASES for cls in contracts.concrete(base)] + [SequenceAutoencoder]
DEFAULTS = [cls for cls in CONCRETE if cls is not SequenceAutoencoder]


# Every class


def test_the_walk_finds_the_classes():
    names = {cls.__name__ for cls in CONCRETE}
    assert {"DenseEncoder", "GRUEncoder", "DeterministicLatent", "GRUDecoder"} <= names
    assert {"Reconstruction", "MeanSquaredError", "ByteTokenizer", "WordTokenizer"} <= names
    assert "Encoder" not in names
    assert "ByteLevelTokenizer" not in names


def test_a_way_to_build_covers_every_choice():
    ways = contracts.configurations(GRUEncoder) + contracts.more_configurations(GRUEncoder)
    assert len(ways) == len({json.dumps(way) for way in ways})
    seen = {(w["pooling"], w["bidirectional"], w["num_layers"]) for w in ways}
    assert len(seen) == 3 * 2 * 2
    assert {w["position_dim"] for w in contracts.configurations(GRUDecoder)} == {0, 8, 10}
    assert {w["latent_dim"] for w in contracts.configurations(DeterministicLatent)} == {None, 8, 9}


def test_many_ways_to_build_are_covered_in_pairs():
    combined = [
        dict(zip("abc", values, strict=True))
        for values in itertools.product((0, 1), (0, 1, 2), (0, 1))
        if values != (1, 2, 1)  # refused
    ]
    few = contracts.pairwise(combined)
    for names in itertools.combinations("abc", 2):
        seen, expected = ({tuple(w[n] for n in names) for w in ways} for ways in (few, combined))
        assert seen == expected
    assert len(few) <= 7
    assert contracts.pairwise([{"a": 0}, {"a": 1}]) == [{"a": 0}, {"a": 1}]
    few, more = (
        f(TransformerEncoder) for f in (contracts.configurations, contracts.more_configurations)
    )
    assert len({json.dumps(way) for way in few + more}) == len(few + more) > 3 * len(few)
    assert len({(w["pooling"], w["num_layers"]) for w in few}) == 4 * 2


@pytest.mark.parametrize("cls", DEFAULTS)
def test_round_trip(cls):
    base = next(base for base in BASES if issubclass(cls, base))
    for arguments in contracts.configurations(cls) + contracts.more_configurations(cls):
        config = cls(**arguments).config()
        assert config == {"class_path": cls.__name__, "init_args": arguments}
        rebuilt = base.from_config(json.loads(json.dumps(config)))
        assert type(rebuilt) is cls
        assert rebuilt.config() == config


def test_round_trip_of_the_defaults():
    for cls in DEFAULTS:
        defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
        assert cls().config() == {"class_path": cls.__name__, "init_args": defaults}
        rebuilt = cls.from_config({"class_path": cls.__name__})
        assert type(rebuilt) is cls
        assert rebuilt.config()["init_args"] == defaults


def test_round_trip_of_a_model():
    model = SequenceAutoencoder(
        DenseEncoder(7, 2, "tanh", 0.1),
        DeterministicLatent(None, normalize="layer"),
        GRUDecoder(5, 2, 0.2, 0),
        embedding_dim=3,
        head="nearest",
        embedding_dropout=0.3,
        train_embedding=False,
    )
    config = json.loads(json.dumps(model.config()))
    assert config["init_args"]["encoder"] == {
        "class_path": "DenseEncoder",
        "init_args": {
            "hidden_dim": 7,
            "num_layers": 2,
            "activation": "tanh",
            "dropout": 0.1,
            "norm_type": "none",
        },
    }
    rebuilt = SequenceAutoencoder.from_config(config)
    assert isinstance(rebuilt.decoder, GRUDecoder)
    assert rebuilt.config() == model.config() == config


@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.final leaves no trace before 3.11")
def test_a_class_is_abstract_or_final():
    for base in (*BASES, SequenceAutoencoder):
        for cls in contracts.subclasses(base):
            is_final = "__final__" in vars(cls)
            assert inspect.isabstract(cls) != is_final, f"{cls.__name__} must be one of the two"


@pytest.mark.parametrize("cls", CONCRETE)
def test_a_parameter_is_plain_data_by_name(cls):
    told = next(c for c in cls.__mro__ if "__init__" in vars(c))  # its docstring is the help
    documentation = inspect.getdoc(told) or ""
    hints = get_type_hints(cls.__init__)
    for name, parameter in inspect.signature(cls).parameters.items():
        assert parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, name
        assert not mentions_callable(hints[name]), f"{name} lets a file name any function"
        assert re.search(rf"^ +{name}: \S", documentation, re.MULTILINE), f"{name}: no docstring"


def mentions_callable(hint: Any) -> bool:
    if hint is Any or hint is object or hint is type:
        return True
    inner = get_args(hint) if get_origin(hint) is not None else ()
    if Callable in (hint, get_origin(hint)) or get_origin(hint) in (Callable, type):
        return True
    return any(mentions_callable(h) for h in inner if not isinstance(h, (str, int, NoneType)))


def test_a_callable_is_seen():
    for hint in (Callable, Callable[[int], int], list[Callable[..., Any]] | None, type[int], Any):
        assert mentions_callable(hint)
    assert not mentions_callable(list[int] | None)


@pytest.mark.parametrize("cls", DEFAULTS)
def test_an_argument_of_the_wrong_type_is_refused(cls):
    wrong = {int: [1.5, "1", True], float: ["0.5", True], bool: [1, "true"], str: [1, True]}
    for name in inspect.signature(cls).parameters:
        hint = get_type_hints(cls.__init__)[name]
        values = [{}, [[]], *wrong.get(hint, ["no such thing", 1.5])]
        for value in values if type(None) in get_args(hint) else [*values, None]:
            config = {"class_path": cls.__name__, "init_args": {name: value}}
            message = contracts.refusal(cls.from_config, config)
            assert message.startswith(f"`{name}` must be "), message


def test_an_unknown_argument_is_refused():
    for cls in CONCRETE:
        config = {"class_path": cls.__name__, "init_args": {"no_such_argument": 1}}
        message = contracts.refusal(cls.from_config, config)
        assert message.startswith(f"`init_args` of {cls.__name__} must be among ")
        assert "no_such_argument" in message


def test_a_missing_argument_is_refused():
    config = {"class_path": "SequenceAutoencoder", "init_args": {"embedding_dim": 8}}
    message = contracts.refusal(SequenceAutoencoder.from_config, config)
    assert "encoder, latent, decoder" in message


@pytest.mark.parametrize(
    "name",
    [
        "NoSuchClass",
        "seqae.model.encoders.GRUEncoder",
        "torch.nn.GRU",
        "os.system",
        "Encoder",  # abstract
        "Component",
        None,
        7,
        ["GRUEncoder"],
        "x" * 10_000,
    ],
)
def test_an_unknown_class_is_refused(name):
    for base in (*BASES, SequenceAutoencoder):
        message = contracts.refusal(base.from_config, {"class_path": name, "init_args": {}})
        assert message.startswith(f"`class_path` of a {base.__name__} must be one of ")


def test_a_class_of_another_kind_is_refused():
    contracts.refusal(Encoder.from_config, DenseDecoder().config())
    contracts.refusal(DenseEncoder.from_config, GRUEncoder().config())
    config = SequenceAutoencoder(GRUEncoder(), DeterministicLatent(), GRUDecoder()).config()
    config["init_args"]["encoder"] = GRUDecoder().config()
    contracts.refusal(SequenceAutoencoder.from_config, config)


@pytest.mark.parametrize(
    "config",
    [
        None,
        [],
        "GRUEncoder",
        {"class_path": "GRUEncoder", "init_args": {}, "more": 1},
        {"class_path": "GRUEncoder", "init_args": []},
        {"class_path": "GRUEncoder", "init_args": "hidden_dim"},
        {"class_path": "GRUEncoder", "init_args": None},
        {},
    ],
    ids=str,
)
def test_another_form_is_refused(config):
    contracts.refusal(Encoder.from_config, config)


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (GRUEncoder, {"hidden_dim": 0}),
        (GRUEncoder, {"hidden_dim": 10**30}),
        (GRUEncoder, {"num_layers": 65}),
        (GRUEncoder, {"dropout": 1}),
        (DenseEncoder, {"dropout": float("nan")}),
        (GRUDecoder, {"position_dim": -1}),
        (DeterministicLatent, {"latent_dim": 0}),
        (Reconstruction, {"word_dropout": 1.1}),
        (Reconstruction, {"label_smoothing": float("inf")}),
    ],
)
def test_a_number_out_of_range_is_refused(cls, arguments):
    config = {"class_path": cls.__name__, "init_args": arguments}
    assert "must be between" in contracts.refusal(cls.from_config, config)


@pytest.mark.parametrize("cls", DEFAULTS)
def test_every_number_has_a_range(cls):
    for name in inspect.signature(cls).parameters:
        hint = get_type_hints(cls.__init__)[name]
        if {int, float} & {hint, *get_args(hint)}:
            for value in (-(10**30), 10**30):
                config = {"class_path": cls.__name__, "init_args": {name: value}}
                message = contracts.refusal(cls.from_config, config)
                assert message.startswith(f"`{name}` must be between"), message


def test_objectives_without_arguments_are_found():
    assert type(Objective.from_config({"class_path": "MeanSquaredError"})) is MeanSquaredError


# The base class


def test_a_list_and_a_whole_number_for_a_float_are_plain_data():
    class Listed(Component):
        def __init__(self, sizes: list[float], names: list[str] | None = None) -> None:
            self.sizes, self.names = sizes, names

    rebuilt = Listed.from_config({"class_path": "Listed", "init_args": {"sizes": [1, 2.5]}})
    assert rebuilt.config()["init_args"] == {"sizes": [1.0, 2.5], "names": None}
    assert [type(size) for size in rebuilt.sizes] == [float, float]
    config = {"class_path": "Listed", "init_args": {"sizes": [1], "names": [1]}}
    assert "`names` must be" in contracts.refusal(Listed.from_config, config)


@dataclass(frozen=True)
class Rates:
    drop: float = 0.0
    kind: Literal["word", "token"] = "word"


@dataclass(frozen=True)
class Options:
    names: tuple[str, ...]
    limit: int | None = None
    rates: Rates = field(default_factory=Rates)

    def __post_init__(self) -> None:
        check_range("limit", 0 if self.limit is None else self.limit, 0, 9)


class WithOptions(Component):
    def __init__(self, options: Options, rates: Rates | None = None) -> None:
        self.options, self.rates = options, rates


def test_a_dataclass_is_told_as_plain_data_and_rebuilt():
    part = WithOptions(Options(("a", "b"), rates=Rates(0.5, "token")))
    config = json.loads(json.dumps(part.config()))
    assert config["init_args"] == {
        "options": {
            "names": ["a", "b"],
            "limit": None,
            "rates": {"drop": 0.5, "kind": "token"},
        },
        "rates": None,
    }
    rebuilt = WithOptions.from_config(config)
    assert rebuilt.options == part.options
    assert rebuilt.rates is None
    config["init_args"]["rates"] = {"drop": 1}
    rates = WithOptions.from_config(config).rates
    assert rates == Rates(1.0)
    assert type(rates.drop) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "`data` must be among names, limit, rates, but None is given instead."),
        (["a"], "`data` must be among names, limit, rates, but ['a'] is given instead."),
        ({"names": [], "no": 1}, "`data` must be among names, limit, rates, but ['no'] is given"),
        ({"names": [], 1: 1}, "`data` must be among names, limit, rates, but ['1'] is given"),
        ({"limit": 1}, "`data` must hold names, but names is missing."),
        ({"names": "a"}, "`data.names` must be of type tuple, but it is 'a' instead."),
        ({"names": [1]}, "`data.names` must be of type str, but it is 1 instead."),
        ({"names": [], "limit": "1"}, "`data.limit` must be of type int, but it is '1' instead."),
        ({"names": [], "limit": 10}, "`limit` must be between 0 and 9, but it is 10 instead."),
        ({"names": [], "rates": 1}, "`data.rates` must be among drop, kind, but 1 is given"),
        ({"names": [], "rates": {"kind": "x"}}, "`data.rates.kind` must be one of word, token,"),
    ],
    ids=str,
)
def test_a_dataclass_refuses_what_is_not_of_its_types(value, message):
    assert contracts.refusal(from_plain, value, Options, "data").startswith(message)


def test_what_is_not_plain_data_cannot_be_told():
    class Holder(Component):
        def __init__(self, value: Any) -> None:
            self.value = value

    with pytest.raises(TypeError, match="value holds a function"):
        Holder(test_what_is_not_plain_data_cannot_be_told).config()
    with pytest.raises(TypeError, match=r"value\.drop holds a set"):
        Holder(Rates(drop={0.5})).config()
    with pytest.raises(TypeError, match="value holds a type"):
        Holder(Rates).config()


def test_concrete_subclasses_are_sorted_and_leave_out_the_abstract():
    found = concrete_subclasses(Encoder)
    assert found == sorted(found, key=lambda cls: cls.__name__)
    assert Encoder not in found
    assert concrete_subclasses(GRUEncoder) == [GRUEncoder]


@given(st.floats() | st.integers(), st.integers(-5, 5), st.integers(0, 5))
def test_a_range_holds_its_ends_and_refuses_what_is_no_number(value, low, width):
    if low <= value <= low + width:
        check_range("key", value, low, low + width)
    else:
        message = contracts.refusal(check_range, "key", value, low, low + width)
        assert message.startswith("`key` must be between")


def test_a_range_refuses_text():
    assert "'3'" in contracts.refusal(check_range, "data.seed", "3", 0, 9)


def test_a_choice():
    check_choice("key", "a", ("a", "b"))
    assert contracts.refusal(check_choice, "key", "c", ("a", "b")) == (
        "`key` must be one of a, b, but it is 'c' instead. Choose one of these."
    )


def test_a_literal_gives_its_choices():
    check_literal("key", "a", Literal["a", "b"])
    assert contracts.refusal(check_literal, "key", "c", Literal["a", "b"]) == (
        "`key` must be one of a, b, but it is 'c' instead. Choose one of these."
    )
