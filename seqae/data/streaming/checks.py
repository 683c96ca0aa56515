"""Refuse a stream before it is opened: its sources, its shards and the trainer that reads it."""

from __future__ import annotations

import logging
from typing import Any

from seqae.data.sources.base import Source
from seqae.data.sources.walking import quote

log = logging.getLogger(__name__)


def check_limits(trainer: Any) -> None:
    """Refuse a trainer that would read a stream forever; warn of one that never validates.

    Args:
        trainer: of Lightning.

    Raises:
        ValueError: if `max_steps` is not given.
    """
    if trainer.max_steps < 0:
        raise ValueError(
            "`trainer.max_steps` must be given for a stream, which has no end, but it is -1 "
            "instead. Set it, and `trainer.val_check_interval` to the steps between "
            "validations; or leave out `data.streaming`."
        )
    if trainer.val_check_interval == 1.0 and not isinstance(trainer.limit_train_batches, int):
        log.warning(
            "data: a stream has no epochs, so that only the last model will be measured. Set "
            "`trainer.val_check_interval` to a number of steps."
        )


def check_division(shards: int, world_size: int, num_workers: int) -> None:
    """Refuse shards that cannot be divided over processes and loader workers.

    Raises:
        ValueError: if they cannot; it names numbers that fit.
    """
    if shards % world_size:
        raise ValueError(
            f"`data.stream_shards` must be a multiple of the number of processes, but it is "
            f"{shards} and there are {world_size} processes instead. Set it to "
            f"{-(-shards // world_size) * world_size}."
        )
    each = shards // world_size
    if num_workers and each % num_workers:
        fits = [str(n) for n in range(1, each + 1) if each % n == 0 and n < 2 * num_workers]
        raise ValueError(
            f"`data.num_workers` must divide the {each} shards of a process "
            f"(`data.stream_shards` by the number of processes), but it is {num_workers} "
            f"instead. Choose 0, {', '.join(fits)}."
        )


def check_streamable(source: Source) -> None:
    """Refuse a source that can be read only once.

    Raises:
        ValueError: if it can be read only once.
    """
    if not source.can_reread:
        raise ValueError(
            f"`{source.keys.source}` must be files or a data set to be streamed, but "
            f"{quote(source.name)} can be read only once. Save it to a file, or leave out "
            f"`data.streaming`."
        )
