"""Component: a swappable part that can say how it was built, in plain data, and be rebuilt from it.

A tokenizer, an encoder, a latent, a decoder or an objective is a Component. Its constructor
takes plain data (numbers, text, booleans, None, lists of them) or other Components and keeps each
argument under its own name. That is all that is needed for three things at once: the YAML schema
and the help text (the constructor's signature), the resolved config of a run, and the
`config.json` of a bundle.

The trade-off: a class is found by its bare name among the subclasses that are *already imported*.
So a stranger's file can import nothing and run nothing; a variant of your own must be imported
before a bundle that uses it is loaded.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C", bound="Component")

PLAIN_TYPES = (str, bool, int, float, NoneType)


class Component(ABC):  # noqa: B024 - each kind of part has abstract methods of its own
    """Base of every swappable part; see the module's text for the rules."""

    def config(self) -> dict[str, Any]:
        """Say how this part was built.

        Returns:
            `{"class_path": name, "init_args": {argument: plain data or the config of a part}}`,
            the same form that a YAML file has.
        """
        names = _argument_names(type(self))
        return {
            "class_path": type(self).__name__,
            "init_args": {name: _to_plain(getattr(self, name), name) for name in names},
        }

    @classmethod
    def from_config(cls: type[C], config: Mapping[str, Any]) -> C:
        """Rebuild a part from what `config()` said.

        Args:
            config: `{"class_path": name, "init_args": {...}}`; the name must be that of an
                imported, concrete subclass of the class this is called on.

        Raises:
            ValueError: if the form, the name or an argument is not what this class knows.
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
                f"but it is {_shorten(name)} instead. A class of your own must be imported first."
            )
        return known[name](**_arguments_from_plain(known[name], arguments))


def concrete_subclasses(base: type[C]) -> list[type[C]]:
    """List the imported classes below (and including) `base` that can be built, sorted by name."""
    found: set[type[C]] = set()
    to_visit: list[type[C]] = [base]
    while to_visit:
        cls = to_visit.pop()
        to_visit.extend(cls.__subclasses__())
        if not inspect.isabstract(cls) and ABC not in cls.__bases__:
            found.add(cls)
    return sorted(found, key=lambda cls: cls.__name__)


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Check that a number given by the user lies within `[low, high]`.

    Raises:
        ValueError: in the house grammar: the key, what it must be, what it is, the way out.
    """
    if not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(
            f"`{key}` must be between {low:,} and {high:,}, but it is {_shorten(value)} instead. "
            f"Choose a value in that range."
        )


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that a word given by the user is one of a few.

    Raises:
        ValueError: in the house grammar: the key, what it must be, what it is, the way out.
    """
    if value not in choices:
        raise ValueError(
            f"`{key}` must be one of {', '.join(choices)}, but it is {_shorten(value)} instead. "
            f"Choose one of these."
        )


def _argument_names(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)


def _to_plain(value: Any, name: str) -> Any:
    if isinstance(value, Component):
        return value.config()
    if isinstance(value, PLAIN_TYPES):
        return value
    if isinstance(value, (list, tuple)):
        return [_to_plain(item, name) for item in value]
    raise TypeError(f"argument {name} holds a {type(value).__name__}, which is not plain data")


def _arguments_from_plain(cls: type[Component], arguments: Any) -> dict[str, Any]:
    names = _argument_names(cls)
    if not isinstance(arguments, Mapping) or set(arguments) - set(names):
        unknown = (
            sorted(set(arguments) - set(names)) if isinstance(arguments, Mapping) else arguments
        )
        raise ValueError(
            f"`init_args` of {cls.__name__} must be among {', '.join(names) or 'nothing'}, "
            f"but {_shorten(unknown)} is given instead. Remove it, or use the version of seqae "
            f"that wrote this file."
        )
    required = [n for n, p in inspect.signature(cls).parameters.items() if p.default is p.empty]
    missing = [name for name in required if name not in arguments]
    if missing:
        raise ValueError(
            f"`init_args` of {cls.__name__} must hold {', '.join(required)}, but "
            f"{', '.join(missing)} is missing. Add it."
        )
    hints = get_type_hints(cls.__init__)
    return {
        name: from_plain(value, hints.get(name, Any), name) for name, value in arguments.items()
    }


def from_plain(value: Any, hint: Any, key: str) -> Any:
    """Turn plain data into the argument that the type hint asks for, or refuse it."""
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for option in options:
            try:
                return from_plain(value, option, key)
            except ValueError as error:
                refusal = error
        raise refusal
    if isinstance(hint, type) and issubclass(hint, Component):
        return hint.from_config(value)
    if origin is Literal and value in options:
        return value
    if origin is list and isinstance(value, list):
        return [from_plain(item, options[0], key) for item in value]
    if hint is float and type(value) is int:
        return float(value)
    if hint in PLAIN_TYPES and type(value) is hint:
        return value
    raise ValueError(
        f"`{key}` must be of type {getattr(hint, '__name__', hint)}, "
        f"but it is {_shorten(value)} instead. Write a value of that type."
    )


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def check_seed(seed: int) -> None:
    """Refuse a seed that some generator does not take: NumPy's and scikit-learn's have 32 bits.

    Raises:
        ValueError: if it is out of range.
    """
    check_range("seed", seed, 0, 2**32 - 1)
