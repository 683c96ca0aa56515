"""RunMirror: send what a training has completed to a run elsewhere, beside the training.

    saved ─► link in .outbox ─► thread: bundle, records, checkpoint, run.json ─► what is older goes

The folder of this machine is the truth of the moment. A checkpoint or bundle that is complete there
is linked into an outbox, so that a newer one can take its place while it is being sent; of several
that wait only the newest is. So at most two of each are kept beyond those of the run. A failure
never ends the training: it is said once, and what is missing is sent later, or at the end.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from lightning.pytorch import Callback

from seqae.bundle.manifest import CARD, EVALUATION, MANIFEST
from seqae.files import StorageError
from seqae.remote.run_pointer import RunPointer, read_pointer, write_pointer
from seqae.remote.store import first_line
from seqae.remote.transfer import list_remote, remove_remote, send_file
from seqae.training.callbacks.best_bundle import BundleWriter
from seqae.training.checkpoints.callback import CheckpointWriter, newest_checkpoint
from seqae.training.run.outbox import (
    Waiting,
    bundle_order,
    files_of,
    link_to,
    seconds_for_a_stop,
)
from seqae.training.run.remote_run import HomeState, read_state, run_url
from seqae.training.run.run_folder import OUTBOX

KEY = "run_dir"
RETRY_SECONDS = 60.0  # after a failure, which took about a minute itself
TELL_SECONDS = 60.0  # between two lines that say that the end waits for uploads

log = logging.getLogger(__name__)


class TakenOver(Exception):
    """Another training writes to the same run elsewhere."""


class RunMirror:
    """Sends a run's checkpoints, bundle and records, in a thread.

    Args:
        folder: of the run on this machine.
        url: of the run elsewhere.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self._outbox = folder / OUTBOX
        self._changed = threading.Condition()
        self._waiting = self._sending = Waiting()
        self._unqueued: dict[str, str] = {}  # what had no place in the outbox, by its kind
        self._has_records = False
        self._is_ending = self._keeps_old = False
        self._failure: str | None = None
        self._is_taken_over = False
        self._pointer = RunPointer("0" * 32)
        self._sent: dict[str, tuple[int, int]] = {}  # size and mtime_ns of each record
        self._thread: threading.Thread | None = None

    def start(self, callbacks: Sequence[Callback] = ()) -> None:
        """Take the run over from whoever wrote to it last, and send what it lacks.

        Args:
            callbacks: of the trainer: those that write checkpoints and bundles tell of each.

        Raises:
            OSError: if the store cannot be reached or written: that is better known before a
                training than after it.
            ValueError: if SEQAE_UPLOAD_SECONDS is no number of seconds.
        """
        seconds_for_a_stop()
        shutil.rmtree(self._outbox, ignore_errors=True)
        self._outbox.mkdir(exist_ok=True)
        before = read_pointer(self.url, KEY) or self._pointer
        self._pointer = replace(before, writer=uuid.uuid4().hex)
        state = read_state(self.folder, self.url)
        is_last = before.writer in (*state.writers, "0" * 32)
        # First here, and beside what was true before: whether the store takes it or not, or takes
        # it and its answer is lost, the folder is not taken for a stale one.
        writer = before.writer if before.writer in state.writers else state.writer
        replace(state, writer=writer, claimed=self._pointer.writer).write(self.folder)
        write_pointer(self.url, self._pointer, KEY)
        HomeState(self.url, self._pointer.writer).write(self.folder)
        if is_last:  # what was not sent before the end of that training
            newest = newest_checkpoint(self.folder / "checkpoints")
            if newest is not None and not self._is_there(newest):
                self.send_checkpoint(newest)
            if (self.folder / "bundle").is_dir():
                self.send_bundle(self.folder / "bundle")
        self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
        self._thread.start()
        for callback in callbacks:
            if isinstance(callback, CheckpointWriter):
                callback.on_published = self.send_checkpoint
            elif isinstance(callback, BundleWriter):
                callback.on_written = self.send_bundle

    def send_checkpoint(self, path: Path) -> None:
        """Queue a checkpoint that is complete; it replaces one that waits."""
        link = self._outbox / path.name
        with self._changed, self._noting("checkpoint", f"the checkpoint {path.stem}"):
            link_to(path, link)
            self._waiting = replace(self._waiting, checkpoint=link)
            self._clear()
            self._changed.notify()

    def send_bundle(self, folder: Path) -> None:
        """Queue a bundle that is complete; it replaces one that waits."""
        manifest = (folder / MANIFEST).read_bytes()
        others = [(folder / name) for name in (CARD, EVALUATION)]
        texts = [path.read_bytes() for path in others if path.is_file()]
        name = f"bundle-{hashlib.sha256(repr([manifest, *texts]).encode()).hexdigest()[:16]}"
        with self._changed:
            link = self._outbox / name
            if name != self._pointer.bundle and link != self._waiting.bundle:
                with self._noting("bundle", "the newest bundle"):
                    link_to(folder, link)
                    self._waiting = replace(self._waiting, bundle=link)
                    self._clear()
                    self._changed.notify()

    @contextmanager
    def _noting(self, kind: str, what: str) -> Iterator[None]:
        """Note what could not be queued, such as on a full disk: no training ends for it."""
        try:
            yield
            self._unqueued.pop(kind, None)
        except OSError as error:
            self._unqueued[kind] = what
            log.warning(f"{self.url} does not get {what} ({first_line(error)})")

    def _is_there(self, checkpoint: Path) -> bool:
        """Say whether the run elsewhere has a checkpoint, by its name and its sizes."""
        sizes = sorted(path.stat().st_size for path in files_of(checkpoint))
        named, there = self._pointer.checkpoint, self._pointer.files
        return named == checkpoint.name and sorted(there.values()) == sizes

    @contextmanager
    def until_sent(self) -> Iterator[None]:
        """Wait at the end of the block until all is sent, or say what the run elsewhere lacks.

        A training that was stopped, whose machine may be taken away soon, waits for so long as
        SEQAE_UPLOAD_SECONDS says.

        Raises:
            StorageError: if the block has succeeded, and something could not be sent.
        """
        try:
            yield
        except BaseException:
            if (missing := self._finish(seconds_for_a_stop())) is not None:
                print(missing, flush=True)
            raise
        if (missing := self._finish(None)) is not None:
            raise StorageError(0, missing)
        if self._thread is not None:
            print(f"sent: {self.url}", flush=True)

    def _finish(self, seconds: float | None) -> str | None:
        """Send the rest, and say what is missing after that."""
        if self._thread is None:
            return None
        with self._changed:
            self._is_ending = self._has_records = True
            self._changed.notify()
        self._thread.join(TELL_SECONDS if seconds is None else seconds)
        while seconds is None and self._thread.is_alive():
            state = "" if self._failure is None else f"; the last try failed: {self._failure}"
            print(f"sending the rest to {self.url} (Ctrl-C leaves it{state})", flush=True)
            self._thread.join(TELL_SECONDS)
        if self._is_taken_over:
            return (
                f"`run_dir` must be written by one training, but another one has taken {self.url} "
                f"over. What this one has made is in {self.folder}."
            )
        lacking = [*self._unqueued.values()]
        if self._waiting.checkpoint is not None and "checkpoint" not in self._unqueued:
            lacking.append(f"the checkpoint {self._waiting.checkpoint.stem}")
        if self._waiting.bundle is not None and "bundle" not in self._unqueued:
            lacking.append("the newest bundle")
        if not lacking and not self._has_records:
            return None
        slow = "" if seconds is None else f"it was not done within {seconds:g} s"
        why = self._failure or (self._unqueued and "the outbox could not take it") or slow
        return (
            f"`run_dir` must get all of the run, but {self.url} lacks "
            f"{' and '.join(lacking) or 'the newest records'} ({why}). It is whole in "
            f"{self.folder}; on this machine `seqae fit --resume {self.url}` sends the rest."
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._is_ending and self._waiting == Waiting():
                    self._changed.wait()
                elif self._failure is not None and not self._is_ending:
                    self._changed.wait(RETRY_SECONDS)
                waiting, is_last = self._waiting, self._is_ending
                if waiting == Waiting() and not is_last:
                    continue
                self._sending = waiting
            try:
                self._send(waiting)
            except TakenOver:
                self._is_taken_over = True
                log.warning(f"{self.url} is written by another training now; no more is sent")
                return
            except Exception as error:  # of the store; a training does not end for it
                reason = first_line(error.__cause__ or error)
                if self._failure is None:
                    log.warning(f"{self.url} lacks what is newest ({reason}); it is sent later")
                self._failure = reason
                if is_last:
                    return
                continue
            if self._failure is not None:
                log.warning(f"{self.url} has all again")
            self._failure = None
            with self._changed:
                is_done = self._waiting == waiting
                now = self._waiting
                self._waiting = Waiting(
                    None if now.checkpoint == waiting.checkpoint else now.checkpoint,
                    None if now.bundle == waiting.bundle else now.bundle,
                )
                self._has_records = self._has_records and not is_last
                self._sending = Waiting()
                self._clear()
                if is_last and is_done:
                    return

    def _send(self, waiting: Waiting) -> None:
        """Send what waits, each file whole, and then what names it."""
        self._check_is_writer()
        pointer = self._pointer
        if waiting.bundle is not None:
            for path in bundle_order(waiting.bundle):
                send_file(path, f"{self.url}/{waiting.bundle.name}/{path.name}", KEY)
            pointer = replace(pointer, bundle=waiting.bundle.name)
        pointer = replace(pointer, records=self._send_records())
        if waiting.checkpoint is not None:
            files = {}
            for path in files_of(waiting.checkpoint):
                name = f"checkpoints/{path.relative_to(self._outbox).as_posix()}"
                send_file(path, f"{self.url}/{name}", KEY)
                files[name] = path.stat().st_size
            pointer = replace(pointer, checkpoint=waiting.checkpoint.name, files=files)
        if pointer != self._pointer:
            self._check_is_writer()  # an upload takes its time, and another one may have begun
            write_pointer(self.url, pointer, KEY)
            self._pointer = pointer
            self._remove_old(pointer)

    def _check_is_writer(self) -> None:
        there = read_pointer(self.url, KEY)
        if there is not None and there.writer != self._pointer.writer:
            raise TakenOver

    def _send_records(self) -> dict[str, int]:
        """Send the files of the run's folder that have changed; return the sizes of all."""
        sizes = {}
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            if not path.name.isprintable() or "\\" in path.name:  # a user's, and in no pointer
                continue
            status = path.stat()
            stamp = status.st_size, status.st_mtime_ns
            if self._sent.get(path.name) != stamp:
                copy = self._outbox / f".{path.name}"  # a log grows while it is sent
                shutil.copyfile(path, copy)
                send_file(copy, f"{self.url}/{path.name}", KEY)
                copy.unlink()
                self._sent[path.name] = stamp
            sizes[path.name] = status.st_size
        return sizes

    def _remove_old(self, pointer: RunPointer) -> None:
        """Remove checkpoints and bundles that the pointer no longer names, if the store lets us."""
        try:
            old = [
                f"{self.url}/{name}"
                for name in list_remote(self.url, KEY)
                if (name.startswith("checkpoints/step=") and name not in pointer.files)
                or (name.startswith("bundle-") and name.partition("/")[0] != pointer.bundle)
            ]
            remove_remote(old, KEY)
            self._keeps_old = False
        except OSError as error:  # what the run needs is there, and is named
            if not self._keeps_old:
                log.warning(f"{self.url} keeps what is older ({first_line(error)})")
            self._keeps_old = True

    def _clear(self) -> None:
        """Remove from the outbox what neither waits nor is being sent."""
        wanted = (self._waiting, self._sending)
        kept = {path for each in wanted for path in (each.checkpoint, each.bundle)}
        for path in {*self._outbox.glob("step=*"), *self._outbox.glob("bundle-*")} - kept:
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def mirror_of(run_dir: str | None, folder: Path) -> RunMirror | None:
    """Return what sends a run elsewhere; None for a folder of this machine.

    Args:
        run_dir: as the user named it.
        folder: of this machine, that stands for it.
    """
    url = run_url(run_dir)
    return None if url is None else RunMirror(folder, url)
