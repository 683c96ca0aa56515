"""Component: a swappable part that can say in plain data how it was built, and be rebuilt from it.

A tokenizer, an encoder, a latent, a decoder or an objective is a Component. Its constructor takes
plain data (numbers, text, booleans, None, lists of them), frozen dataclasses of it, or other
Components, and keeps each argument under its own name. That alone gives three things: the YAML
schema and the help text (the constructor's signature), the resolved config of a run, and the
`config.json` of a bundle.

The trade-off: a class is found by its bare name among the subclasses that are *already imported*.
So a stranger's file can import nothing and run nothing; your own variant must be imported before a
bundle that uses it is loaded.
"""

from __future__ import annotations

import inspect
import operator
from abc import ABC
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Real
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    SupportsIndex,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

C = TypeVar("C", bound="Component")

PLAIN_TYPES = (str, bool, int, float, NoneType)


class Component(ABC):  # noqa: B024 - each kind of part has abstract methods of its own
    """Base of every swappable part; the module's docstring has the rules."""

    def config(self) -> dict[str, Any]:
        """Describe how this part was built.

        Returns:
            `{"class_path": name, "init_args": {argument: plain data or the config of a part}}`, the
            form that a YAML file has.
        """
        names = _argument_names(type(self))
        return {
            "class_path": type(self).__name__,
            "init_args": {name: _to_plain(getattr(self, name), name) for name in names},
        }

    @classmethod
    def from_config(cls: type[C], config: Mapping[str, Any]) -> C:
        """Rebuild a part from its `config()`.

        Args:
            config: `{"class_path": name, "init_args": {...}}`; the name must be that of an
                imported, concrete subclass of the class on which this is called.

        Raises:
            ValueError: if the form, the name or an argument is unknown to this class.
        """
        if not isinstance(config, Mapping) or set(config) - {"class_path", "init_args"}:
            raise ValueError(
                f"`{cls.__name__}` must be given as class_path and init_args, but it is "
                f"{_shorten(config)} instead. Write `class_path: NAME` and `init_args: {{...}}`."
            )
        name, arguments = config.get("class_path"), config.get("init_args", {})
        known = {c.__name__: c for c in concrete_subclasses(cls)}
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                f"`class_path` of a {cls.__name__} must be one of {', '.join(sorted(known))}, "
                f"but it is {_shorten(name)} instead. Import your own class first."
            )
        part = known[name]
        return part(**_arguments_from_plain(part, arguments, f"`init_args` of {name}"))


def concrete_subclasses(base: type[C]) -> list[type[C]]:
    """List the imported classes below (and including) `base` that can be built, sorted by name."""
    concrete: set[type[C]] = set()
    to_visit: list[type[C]] = [base]
    while to_visit:
        cls = to_visit.pop()
        to_visit.extend(cls.__subclasses__())
        if not inspect.isabstract(cls) and ABC not in cls.__bases__:
            concrete.add(cls)
    return sorted(concrete, key=lambda cls: cls.__name__)


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Check that the user's number, of Python or of NumPy, lies within `[low, high]`.

    Raises:
        ValueError: if it does not, or is no number.
    """
    if not (isinstance(value, Real) or is_whole(value)) or not low <= value <= high:
        raise ValueError(
            f"`{key}` must be between {low:,} and {high:,}, but it is {_shorten(value)} instead. "
            f"Choose a value in that range."
        )


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number: an int, or what NumPy and torch have as one."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def check_whole(key: str, value: SupportsIndex, low: int, high: int) -> int:
    """Check that the user's whole number lies within `[low, high]`.

    Args:
        key: names it.
        value: anything with `__index__`: an int, a NumPy integer, a tensor of one integer.
        low: the lowest.
        high: the highest.

    Returns:
        The number as an int.

    Raises:
        ValueError: if it is not whole or not in that range.
    """
    if not is_whole(value):
        raise ValueError(
            f"`{key}` must be a whole number, but it is {_shorten(value)} instead. Write one, "
            f"between {low:,} and {high:,}."
        )
    number = operator.index(value)
    check_range(key, number, low, high)
    return number


def check_part(key: str, value: object, kind: type) -> None:
    """Check that a part, which the user constructed, is of its kind.

    Args:
        key: the argument's name.
        value: the argument.
        kind: the class that it must derive from.

    Raises:
        ValueError: if it is something else, such as a plain `nn.Module`.
    """
    if not isinstance(value, kind):
        given = value.__name__ if isinstance(value, type) else type(value).__name__
        way_out = "Construct it first" if isinstance(value, type) else "Derive your class from that"
        raise ValueError(
            f"`{key}` must be a {kind.__module__}.{kind.__name__}, but it is "
            f"{'the class ' * isinstance(value, type)}{given} instead. {way_out}; CONTRIBUTING.md "
            f"shows how."
        )


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that the user's word is one of a few.

    Raises:
        ValueError: if it is not.
    """
    if value not in choices:
        raise ValueError(
            f"`{key}` must be one of {', '.join(choices)}, but it is {_shorten(value)} instead. "
            f"Choose one of these."
        )


def check_literal(key: str, value: str, literal: Any) -> None:
    """Check that the user's word is one of those that a `Literal` type lists.

    Raises:
        ValueError: if it is not.
    """
    check_choice(key, value, get_args(literal))


def type_in_words(value: object) -> str:
    """Name the type of a value in a sentence: `a str`, `an int`."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def check_seed(seed: SupportsIndex) -> int:
    """Check that every generator takes this seed: those of NumPy and scikit-learn have 32 bits.

    Returns:
        The seed as an int.

    Raises:
        ValueError: if it is out of range.
    """
    return check_whole("seed", seed, 0, 2**32 - 1)


def from_plain(value: Any, hint: Any, key: str) -> Any:
    """Turn plain data into an argument of the hinted type.

    Args:
        value: what a YAML or JSON file has.
        hint: type of a constructor's parameter: a plain type, a Literal, a list or tuple of one
            type, a dataclass, a Component, or a union of these.
        key: name of the argument in error messages; fields of a dataclass are `key.field`.

    Raises:
        ValueError: if the value is not of that type.
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        refusals = []
        for option in options:
            try:
                return from_plain(value, option, key)
            except ValueError as error:
                refusals.append(error)
        raise refusals[0]
    if isinstance(hint, type) and issubclass(hint, Component):
        return hint.from_config(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return hint(**_arguments_from_plain(hint, value, f"`{key}`", f"{key}."))
    if origin is Literal:
        check_choice(key, value, options)
        return value
    if origin is list and isinstance(value, list):
        return [from_plain(item, options[0], key) for item in value]
    if origin is tuple and options[1:] == (...,) and isinstance(value, (list, tuple)):
        return tuple(from_plain(item, options[0], key) for item in value)
    if hint is float and type(value) is int and abs(value) < 10**300:
        return float(value)
    if hint in PLAIN_TYPES and type(value) is hint:
        return value
    raise ValueError(
        f"`{key}` must be of type {getattr(hint, '__name__', hint)}, "
        f"but it is {_shorten(value)} instead. Write a value of that type."
    )


def _arguments_from_plain(
    cls: type[Any], arguments: Any, subject: str, prefix: str = ""
) -> dict[str, Any]:
    """Turn plain data into the arguments of a Component or dataclass.

    Args:
        cls: what they construct.
        arguments: plain data by argument name.
        subject: what error messages call them.
        prefix: what precedes an argument's name there.
    """
    parameters = inspect.signature(cls).parameters
    unknown = arguments
    if isinstance(arguments, Mapping):
        unknown = sorted(map(str, set(arguments) - set(parameters)))
    if not isinstance(arguments, Mapping) or unknown:
        raise ValueError(
            f"{subject} must be among {', '.join(parameters) or 'nothing'}, "
            f"but {_shorten(unknown)} is given instead. Remove it, or use the version of seqae "
            f"that wrote this file."
        )
    required = [name for name, p in parameters.items() if p.default is p.empty]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise ValueError(
            f"{subject} must hold {', '.join(required)}, but {', '.join(missing)} is missing. "
            f"Add it."
        )
    hints = get_type_hints(cls.__init__)
    return {
        name: from_plain(value, hints.get(name, Any), prefix + name)
        for name, value in arguments.items()
    }


def _argument_names(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)


def _to_plain(value: Any, name: str) -> Any:
    if isinstance(value, Component):
        return value.config()
    if isinstance(value, PLAIN_TYPES):
        return value
    if is_whole(value):  # a number of NumPy
        return operator.index(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_to_plain(item, name) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _to_plain(getattr(value, field.name), f"{name}.{field.name}")
            for field in fields(value)
        }
    raise TypeError(f"argument {name} holds a {type(value).__name__}, which is not plain data")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
