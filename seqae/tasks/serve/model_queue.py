"""One thread computes with the models; requests wait for it in a bounded queue.

So the event loop is always free, and two requests never fight for the cores. Requests to
reconstruct that wait at the same time become one batch, which takes hardly longer than one of them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqae.tasks.serve.api_shapes import MAX_TEXTS
from seqae.tasks.serve.model_answers import ModelAnswers

WAITING = 64  # requests; more are turned away
BATCHED = "reconstruct"
MEMORY = 0.8  # of the mean duration, an exponential one


@dataclass(eq=False)
class Job:
    """A request that waits or is computed.

    Attributes:
        call: its name.
        model: its index.
        arguments: of the call.
        future: where the answer goes; cancelled if nobody waits for it any more.
        loop: of the future.
    """

    call: str
    model: int
    arguments: dict[str, Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    @property
    def batch_key(self) -> tuple[int, bool] | None:
        """What jobs of one batch have in common; None for a job that has its own."""
        if self.call != BATCHED:
            return None
        return self.model, bool(self.arguments.get("truncate"))


class QueueFullError(Exception):
    """There are as many requests as may wait.

    Args:
        seconds: after which there should be room.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class ModelQueue:
    """Computes answers, one batch after the other, in a thread of its own.

    Args:
        models: that answer.
        waiting: most requests that wait.
    """

    def __init__(self, models: Sequence[ModelAnswers], waiting: int = WAITING) -> None:
        self.models, self.waiting = models, waiting
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._seconds = 0.05  # that a batch takes
        self._thread = threading.Thread(target=self._work, name="seqae model", daemon=True)
        self._thread.start()

    def submit(self, call: str, arguments: dict[str, Any]) -> asyncio.Future[Any]:
        """Ask for an answer; called in an event loop.

        Args:
            call: its name.
            arguments: as `read_request` returned them.

        Returns:
            A future; cancel it if nobody waits any more.

        Raises:
            QueueFullError: if too many wait already.
            ValueError: if there is no such model.
        """
        index = arguments.pop("model", 0)
        if index >= len(self.models):
            raise ValueError(
                f"`model` must be at most {len(self.models) - 1}, since {len(self.models)} is "
                f"served, but it is {index} instead. See `api/models`."
            )
        loop = asyncio.get_running_loop()
        job = Job(call, index, arguments, loop.create_future(), loop)
        with self._changed:
            if len(self._jobs) >= self.waiting:
                self._jobs = deque(one for one in self._jobs if not one.future.cancelled())
            if len(self._jobs) >= self.waiting:
                raise QueueFullError(max(1, round(len(self._jobs) * self._seconds)))
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """End the thread after what it computes now; do not wait for it."""
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                batch = self._take()
            started = time.monotonic()
            if batch:
                self._answer(batch)
                spent = time.monotonic() - started
                self._seconds = MEMORY * self._seconds + (1 - MEMORY) * spent

    def _take(self) -> list[Job]:
        """Take the first job that somebody waits for, and those that make one batch with it."""
        first = self._jobs.popleft()
        if first.future.cancelled():
            return []
        if first.batch_key is None:
            return [first]
        batch, left = [first], deque[Job]()
        room = MAX_TEXTS - len(first.arguments["texts"])
        for job in self._jobs:
            if job.future.cancelled():
                continue
            if job.batch_key == first.batch_key and len(job.arguments["texts"]) <= room:
                batch.append(job)
                room -= len(job.arguments["texts"])
            else:
                left.append(job)
        self._jobs = left
        return batch

    def _answer(self, batch: list[Job]) -> None:
        try:
            answers = self._compute(batch)
        except Exception as error:  # noqa: BLE001 - of one of them; each hears its own
            if len(batch) > 1:
                for job in batch:
                    self._answer([job])
                return
            _tell(batch[0], error=error)
            return
        for job, answer in zip(batch, answers, strict=True):
            _tell(job, answer)

    def _compute(self, batch: list[Job]) -> list[Any]:
        first = batch[0]
        answer = self.models[first.model].answers[first.call]
        if len(batch) == 1:
            return [answer(**first.arguments)]
        texts = [text for job in batch for text in job.arguments["texts"]]
        rows = iter(answer(**{**first.arguments, "texts": texts}))
        return [[next(rows) for _ in job.arguments["texts"]] for job in batch]


def _tell(job: Job, answer: Any = None, error: Exception | None = None) -> None:
    """Hand an answer to the loop that waits for it, unless that has ended."""

    def tell() -> None:
        if job.future.done():
            return
        if error is None:
            job.future.set_result(answer)
        else:
            job.future.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(tell)
    except RuntimeError:  # the loop is closed: the server has ended
        return
