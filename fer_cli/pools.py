"""Pools of processes: started clean, deaf to Ctrl-C, and gone with the process that made them."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any


def process_pool(workers: int, start: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """A pool of ``workers`` processes, each of which begins with ``start(*arguments)``.

    What they are given to do comes from a module: the caller's own script is not run again in them, so that it needs no
    ``if __name__ == "__main__"``.
    """
    # A forked child could inherit a lock that a thread of ours holds; spawn starts clean on every platform.
    return ProcessPoolExecutor(workers, _Context(), initializer=_start, initargs=(start, arguments))


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
    # Of a parent that was killed nobody else would tell it, and it would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start(*arguments)


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
