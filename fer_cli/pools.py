"""Pools of processes: started clean, deaf to Ctrl-C, and gone with the process that made them."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, Literal

#: Seconds that a process has to end before it is killed.
PATIENCE = 5.0


def process_pool(workers: int, start: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """A pool of ``workers`` processes, each of which begins with ``start(*arguments)``.

    What they are given to do comes from a module: the caller's own script is not run again in them, so that it needs no
    ``if __name__ == "__main__"``.
    """
    # A forked child could inherit a lock that a thread of ours holds; spawn starts clean on every platform.
    return ProcessPoolExecutor(workers, _Context(), initializer=_start, initargs=(start, arguments))


@dataclass(frozen=True)
class Message:
    """What a worker of :class:`Workers` sent: the ``result`` of its work, ``progress`` on the way, or that it ``died``.

    ``value`` is the result, what was reported, or the exit code: minus the signal's number where one killed it.
    """

    worker: int
    kind: Literal["result", "progress", "died"]
    value: Any


class Workers:
    """Processes that do one piece of work at a time each, and of which one that dies costs only its own work.

    A :class:`~concurrent.futures.ProcessPoolExecutor` gives up all that it was given when a single process is killed
    for want of memory. ``environments`` has a mapping a worker: variables that are set there before anything but this
    module is imported, as OpenMP's number of threads must be. A worker is started with its first work, and again after
    it died. All end with the block.
    """

    def __init__(self, environments: Sequence[Mapping[str, str]]):
        self._environments = environments
        self._running: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._busy: set[int] = set()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._running):
            self.stop(worker)

    @property
    def idle(self) -> list[int]:
        """The workers that have nothing to do."""
        return [worker for worker in range(len(self._environments)) if worker not in self._busy]

    def submit(self, worker: int, work: Callable[..., Any], *arguments: Any) -> None:
        """Let an idle ``worker`` do ``work(*arguments, report)``; what it calls ``report`` with arrives as progress.

        ``work`` must be a function of a module, and must not raise: an exception ends the process.
        """
        # What killed a worker that had nothing to do is not this work's fault.
        if worker in self._running and not self._running[worker][0].is_alive():
            self.stop(worker)
        if worker not in self._running:
            self._start(worker)
        self._busy.add(worker)
        # wait() tells of one that dies now.
        with suppress(OSError):
            self._running[worker][1].send((work, arguments))

    def wait(self) -> list[Message]:
        """What the busy workers have sent, as soon as there is anything; an empty list if none is busy."""
        pipes: dict[Any, int] = {self._running[worker][1]: worker for worker in self._busy}
        return [self._receive(pipes[pipe]) for pipe in connection.wait(list(pipes))] if pipes else []

    def stop(self, worker: int) -> None:
        """End a worker's process, whatever it does; its next work starts another."""
        self._busy.discard(worker)
        if worker in self._running:
            process, pipe = self._running.pop(worker)
            pipe.close()
            process.terminate()
            process.join(PATIENCE)
            process.kill()
            process.join()

    def _start(self, worker: int) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = _Process(target=_serve, args=(theirs, dict(self._environments[worker])))
        process.start()
        # Else the pipe would not end when the process does.
        theirs.close()
        self._running[worker] = process, ours

    def _receive(self, worker: int) -> Message:
        process, pipe = self._running[worker]
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError):
            process.join(PATIENCE)
            code = process.exitcode
            self.stop(worker)
            return Message(worker, "died", process.exitcode if code is None else code)
        if kind == "result":
            self._busy.discard(worker)
        return Message(worker, kind, value)


def _serve(pipe: Connection, environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    _obey_parent()
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            pipe.send((kind, value))

    while True:
        try:
            # What is to be done imports what it needs only here, where the environment is set.
            work, arguments = pipe.recv()
        except EOFError:
            return
        send("result", work(*arguments, lambda value: send("progress", value)))


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802 (multiprocessing's own name)
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return SpawnProcess._Popen(process)
        finally:
            sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process


def _start(start: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _obey_parent()
    start(*arguments)


def _obey_parent() -> None:
    # Of a parent that was killed nobody else would tell it, and it would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    connection.wait([parent.sentinel])
    os._exit(1)
