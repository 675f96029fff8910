"""Threads that share the work of a prediction, each of which does what is next: decode, detect, classify."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeAlias, TypeVar

import cv2
import torch

from fer_cli.distributed import cores

T = TypeVar("T")
R = TypeVar("R")
#: What the items of a group gave, and the exception that ended it.
_Done: TypeAlias = tuple[list[R], BaseException | None]

#: Seconds without a result after which a caller that asked for ticks gets one.
PATIENCE = 0.2
#: Results that may wait for an earlier one, in items a thread.
AHEAD = 16
#: Items that are begun or about to be, in items a thread: pixels are in memory for no more than these.
BEGUN = 2


class ThreadedMap:
    """A pool of threads, one more than there are cores, each of which does what is next: decode, detect, classify.

    OpenCV, Pillow and torch let go of Python's lock while they compute. Within the block each of them keeps to one
    thread a call: the items are the parallelism, and no core is idle or oversubscribed.

    >>> with ThreadedMap() as threads:
    ...     list(threads.in_order(abs, [-3, -1, -2]))
    [3, 1, 2]
    """

    def __init__(self, threads: int | None = None):
        # One more: its core would be idle while a thread waits for Python's lock (4 % on two cores).
        self.threads = threads or cores() + 1

    def __enter__(self) -> "ThreadedMap":
        self._before = torch.get_num_threads(), cv2.getNumThreads()
        _one_thread_a_call()
        self._pool = ThreadPoolExecutor(self.threads, "fer", initializer=_one_thread_a_call)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before[0])
        cv2.setNumThreads(self._before[1])

    def submit(self, work: Callable[..., R], *arguments: object) -> "Future[R]":
        """Schedule ``work``."""
        return self._pool.submit(work, *arguments)

    def in_order(
        self, work: Callable[[T], R], items: Iterable[T], *, ticks: bool = False, together: int = 1
    ) -> Iterator[R | None]:
        """What ``work`` makes of each item, in the items' order; an exception of either is raised in its turn.

        ``items`` is read by a thread of its own, which does not run ahead of the work. With ``ticks`` a None is yielded
        whenever nothing has come for :data:`PATIENCE` seconds, so that the caller can do what cannot wait. ``together``
        items are handed to a thread at once, which saves time where none of them has to be waited for.
        """
        results: queue.Queue[Future[_Done[R]] | BaseException | None] = queue.Queue(AHEAD * self.threads)
        room = threading.Semaphore(BEGUN * self.threads)
        stop = threading.Event()

        def put(entry: Future[_Done[R]] | BaseException | None) -> None:
            while not stop.is_set():
                with suppress(queue.Full):
                    results.put(entry, timeout=PATIENCE)
                    return

        def work_on(group: list[T]) -> _Done[R]:
            done: list[R] = []
            try:
                for item in group:
                    done.append(work(item))
            except BaseException as error:
                return done, error
            finally:
                room.release()
            return done, None

        def feed() -> None:
            try:
                for group in _grouped(items, together):
                    while not room.acquire(timeout=PATIENCE):
                        if stop.is_set():
                            return
                    if stop.is_set():
                        return
                    put(self._pool.submit(work_on, group))
                put(None)
            except BaseException as error:  # to be raised where the results are taken
                put(error)

        # A daemon, for it may wait for standard input that never ends.
        threading.Thread(target=feed, name="fer-inputs", daemon=True).start()
        try:
            while True:
                try:
                    entry = results.get(timeout=PATIENCE if ticks else None)
                except queue.Empty:
                    yield None
                    continue
                if entry is None:
                    return
                if isinstance(entry, BaseException):
                    raise entry
                for given in _awaited(entry, ticks):
                    if given is None:
                        yield None
                        continue
                    done, error = given
                    yield from done
                    if error is not None:
                        raise error
        finally:
            stop.set()


def _grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, ``size`` at a time; where reading them fails, those read before come first."""
    group: list[T] = []
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group


def _awaited(future: "Future[R]", ticks: bool) -> Iterator[R | None]:
    # Not by the TimeoutError of result(): it may end just after that, and the work may raise one of its own.
    while not (future.done() or wait([future], timeout=PATIENCE if ticks else None).done):
        yield None
    yield future.result()


def _one_thread_a_call() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
