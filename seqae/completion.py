"""`seqae completion`: a script with which bash and zsh complete commands, options and values.

The script is plain lists: to ask Python at each Tab would take seconds, as the options of `fit` are
made from the signatures of Lightning's Trainer and of all parts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentParser
from typing_extensions import override

from seqae.parser import choices, options_of, type_of
from seqae.recipes import recipe_names
from seqae.synonyms import COMMANDS, OPTIONS
from seqae.tasks.runner import decoding_options, function_of, make_parser
from seqae.terminal import fail
from seqae.training.command.cli_options import Command
from seqae.training.command.lightning_cli import TrainingCLI

SHELLS = ("bash", "zsh")

# zsh runs the functions of bash once it is told to.
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"

SCRIPT = """\
_seqae() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="${{COMP_WORDS[1]}}" options="" values=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$current"))
        return
    fi
    case "$command" in
{synonyms}
    esac
    case "$command" in
{options}
    esac
    case "$command $previous" in
{values}
    esac
    if [ -n "$values" ]; then
        COMPREPLY=($(compgen -W "$values" -- "$current"))
    elif [ "${{current#-}}" != "$current" ]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    fi
}}
complete -o default -F _seqae seqae
"""


class _ParserMadeError(Exception):
    """Ends a TrainingCLI once its parser is made."""


class _OnlyParser(TrainingCLI):
    """A TrainingCLI that parses and runs nothing."""

    @override
    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise _ParserMadeError(self._subcommand_parsers[self.command])


def training_parser(command: Command) -> ArgumentParser:
    """Make the parser of a training command.

    Args:
        command: which.
    """
    arguments = sys.argv
    try:
        _OnlyParser(command, [])
    except _ParserMadeError as made:
        parser: ArgumentParser = made.args[0]
        return parser
    finally:
        sys.argv = arguments
    raise AssertionError("the parser was made")


def run(args: Sequence[str], training: Sequence[str], tasks: Mapping[str, tuple[str, str]]) -> None:
    """Print the script of a shell.

    Args:
        args: its name.
        training: the training commands.
        tasks: the module of each other command.
    """
    if len(args) != 1 or args[0] not in SHELLS:
        given = f"it is {' '.join(args)}" if args else "there is none"
        fail(f"`shell` must be one of {', '.join(SHELLS)}, but {given}. Choose one.", status=2)
    print(ZSH if args[0] == "zsh" else "", script(training, tasks), sep="", end="")


def script(training: Sequence[str], tasks: Mapping[str, tuple[str, str]]) -> str:
    """Return the script for bash.

    Args:
        training: the training commands.
        tasks: the module of each other command.
    """
    parsers = {name: _parser(name, tasks) for name in (*training, *tasks)}
    # `data report` is completed as `data`: its first word.
    firsts = {name: name.partition(" ")[0] for name in parsers}
    commands = [*firsts.values(), "recipes", "completion", *COMMANDS]
    synonyms = [f"{other}) command={name} ;;" for other, name in COMMANDS.items()]
    options, values = [], [f'*" -c"|*" --config") values="{" ".join(recipe_names())}" ;;']
    for name, parser in parsers.items():
        short = OPTIONS if name in training else {}
        known = {f"--{option.dest}": option for option in _named(parser)}
        known |= {f"--{s}": known[f"--{key}"] for s, key in short.items() if f"--{key}" in known}
        options.append(f'{firsts[name]}) options="{" ".join([*known, "--help", "--debug"])}" ;;')
        for flag, option in known.items():
            if words := choices(type_of(option)):
                values.append(f'"{firsts[name]} {flag}") values="{" ".join(words)}" ;;')
    following = {"recipes": "show", "completion": " ".join(SHELLS), "data": "report"}
    values += [f'"{first} {first}") values="{words}" ;;' for first, words in following.items()]
    values.append(f'"recipes show") values="{" ".join(recipe_names())}" ;;')
    return SCRIPT.format(
        commands=" ".join(commands),
        synonyms=_indented(synonyms),
        options=_indented(options),
        values=_indented(values),
    )


def _parser(name: str, tasks: Mapping[str, tuple[str, str]]) -> ArgumentParser:
    if name in tasks:
        task = function_of(tasks[name][0], name)
        return make_parser(task, name, decoding_options(task))
    commands: dict[str, Command] = {"validate": "validate", "test": "test", "predict": "predict"}
    return training_parser(commands.get(name, "fit"))


def _named(parser: ArgumentParser) -> Iterator[Any]:
    """Yield the options that have a name of their own, without the help of classes."""
    for option in options_of(parser):
        if option.option_strings and not option.dest.endswith("help"):
            yield option


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"        {line}" for line in lines)
