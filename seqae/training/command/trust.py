"""Whether a run's folder may be a stranger's: its config.yaml is a program.

It can name classes of every installed package, and files that they write. What an ordinary run
names, classes of this package and a few of Lightning's, needs no question. Anything else does,
unless this user has trained with that very configuration, or answered the question, on this
machine: its hash is then among those that are kept, as direnv keeps those of its files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lightning.fabric.accelerators.accelerator import Accelerator
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment, Precision
from lightning.fabric.strategies.strategy import Strategy as FabricStrategy
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

from seqae.component import Component
from seqae.remote.url import is_same_place, is_url
from seqae.untrusted import load_yaml, mark_of, read_capped, remember

# Lightning's own classes that take no code and send nothing but metrics, by W&B's and the other
# loggers' own settings.
KNOWN_CLASSES = (
    *("CSVLogger", "TensorBoardLogger", "WandbLogger"),
    *("DeviceStatsMonitor", "EarlyStopping", "GradientAccumulationScheduler"),
    *("LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "OnExceptionCheckpoint"),
    *("RichModelSummary", "RichProgressBar", "StochasticWeightAveraging", "Timer"),
    "TQDMProgressBar",
    *("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler"),
    *("DDPStrategy", "SingleDeviceStrategy"),
    *("CPUAccelerator", "CUDAAccelerator", "MPSAccelerator"),
    *("DoublePrecision", "HalfPrecision", "MixedPrecision", "TorchSyncBatchNorm"),
)
OURS = ("AutoencoderModule", "ConfiguredData", "ShardedStrategy")  # beside the parts, Components

# The parser finds a class below these by its bare name.
BASES: tuple[type[Any], ...] = (
    *(Accelerator, Callback, Checkpoint, CheckpointIO, ClusterEnvironment, LayerSync, Logger),
    *(Precision, Profiler, Strategy, FabricStrategy),
)

# Text of the data, which is only read; no class can stand there, nor a file of settings. An address
# elsewhere is asked for with this user's credentials, so it is not a stranger's to choose.
DATA = re.compile(
    r"init|word_vectors|data\.(train|val|test|(reading|cleaning)\.\w+|tokenizer\.path)"
)

# What a word of a setting looks like: `auto`, `val/loss`, `00:12:00:00`, `{epoch}-{step}`, `.3f`.
# A dot stands before a digit, and so in no name of a module and in no `..`.
WORD = re.compile(r"(?![/~])(?!.*(//|\\))([\w\-+/:,={}%# ]|\.(?=\d))*")

# Keys of files and folders that are written.
PATHS = (
    *("cache_dir", "default_root_dir", "dir", "dirpath", "folder", "log_dir", "output"),
    *("run_dir", "save_dir"),
)

# Keys that lead elsewhere: to whom W&B sends, to a model from Lightning's hub, to any function.
ELSEWHERE = ("entity", "settings", "experiment", "model_registry", "dict_kwargs", "config")


def check_trust(run_dir: Path, is_trusted: bool, url: str | None = None) -> None:
    """Refuse the folder of a run that may be a stranger's and names what an ordinary run does not.

    Args:
        run_dir: the folder.
        is_trusted: whether the user has written `--trust`; the answer is kept.
        url: of the run, if it is elsewhere; data of the same bucket are asked for as it was.

    Raises:
        ValueError: naming the first such setting.
    """
    path = run_dir / "config.yaml"
    try:
        data = read_capped(path)
        config = load_yaml(data)
    except ValueError as error:
        raise ValueError(f"{path} must be YAML, but: {error}. Choose another run.") from error
    foreign = [*foreign_settings(config, run_dir, place=url), *foreign_links(run_dir)]
    if not foreign or mark_of(data).exists():
        return
    if not is_trusted:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ValueError(
            f"`trust` must be given for a run that may be a stranger's, but {path} names "
            f"{foreign[0]}{more}, and a configuration is a program. Read it, then add `--trust`. "
            f"Of a stranger take the bundle, never the folder of a run."
        )
    remember(data)


def remember_own(run_dir: Path) -> None:
    """Keep that the configuration of this run is the user's own."""
    data = (run_dir / "config.yaml").read_bytes()
    if any(foreign_settings(load_yaml(data), run_dir)):
        remember(data)


def foreign_settings(
    config: Any, run_dir: Path, key: str = "", place: str | None = None
) -> Iterator[str]:
    """Yield what a configuration names that may run code, or write outside of the run's folder.

    Args:
        config: a run's configuration, or a part of it.
        run_dir: the run's folder.
        key: of that part.
        place: the run's own address, if it is elsewhere.
    """
    name = key.rpartition(".")[2]
    if name in ELSEWHERE:
        if config:
            yield f"`{key}: {str(config)[:200]}`"
    elif isinstance(config, dict):
        for inner, value in config.items():
            yield from foreign_settings(value, run_dir, f"{key}.{inner}".lstrip("."), place)
    elif isinstance(config, list):
        for value in config:
            yield from foreign_settings(value, run_dir, key, place)
    elif isinstance(config, str):
        if name == "class_path":
            is_known = _is_known_class(config)
        elif name in PATHS:
            is_known = _is_within(config, run_dir)
        else:
            is_near = not is_url(config) or is_same_place(config, place)
            is_text = DATA.fullmatch(key) is not None and is_near
            is_known = is_text or _is_word(config, run_dir)
        if not is_known:
            yield f"`{key}: {config[:200]}`"


def foreign_links(run_dir: Path) -> Iterator[str]:
    """Yield the links in a run's folder that lead out of it: what is written there goes elsewhere.

    W&B's own folder has some, to its logs, and makes a new folder for each run.

    Args:
        run_dir: the run's folder.
    """
    whole = run_dir.resolve()
    for folder, folders, files in os.walk(run_dir):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(whole):
                yield f"the link `{path.relative_to(run_dir)}`, which leads out of the folder,"
        if Path(folder) == run_dir and "wandb" in folders:
            folders.remove("wandb")


def _is_word(text: str, run_dir: Path) -> bool:
    """Say whether a text means just itself.

    The parser also takes it for the name of a class, for YAML of one line that says how to make
    one, or for the name of a file of settings, which it looks for here and in the folder of the
    configuration.
    """
    is_file = any(os.path.isfile(os.path.join(place, text)) for place in ("", run_dir))
    is_class = text not in (*KNOWN_CLASSES, *OURS) and text in set(_names_below(BASES))
    return WORD.fullmatch(text) is not None and not (is_file or is_class or _is_nested(text))


def _is_nested(text: str) -> bool:
    """Say whether YAML of one line is a mapping or a list, such as `{class_path: CSVLogger}`."""
    try:
        return isinstance(load_yaml(text.encode()), (dict, list))
    except ValueError:  # `{epoch}-{step}` is no YAML
        return False


def _is_known_class(path: str) -> bool:
    module, _, name = path.rpartition(".")
    if module.startswith("lightning.pytorch."):
        return name in KNOWN_CLASSES
    if not module and name in KNOWN_CLASSES:
        return True
    # Where one of ours is defined: our modules also hold classes and modules that they import. Of
    # ours, too, callbacks and loggers write where their arguments say.
    return any(
        isinstance(found := vars(each).get(name), type)
        and found.__module__.startswith("seqae.")
        and (issubclass(found, Component) or name in OURS)
        and module in ("", each.__name__)
        for each in list(sys.modules.values())
        if each.__name__.startswith("seqae.")
    )


def _names_below(classes: Iterable[type[Any]]) -> Iterator[str]:
    for each in classes:
        yield each.__name__
        yield from _names_below(type.__subclasses__(each))


def _is_within(path: str, run_dir: Path) -> bool:
    """Say whether a path stays in the run's folder, which `.` means to `fit`.

    Lightning's own callbacks and loggers write to addresses, too, with this user's credentials.
    """
    if "://" in path or "::" in path:
        return False
    whole = Path(os.path.expanduser(path)).resolve()
    return path == "." or whole.is_relative_to(run_dir.resolve())
