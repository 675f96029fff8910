"""Engines of a benchmark: processes of this machine, or tasks of a Ray cluster, that compute a cell at a time each."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from time import monotonic
from typing import Any, Literal, NamedTuple, Protocol

from fer_cli.benchmark.cells import Cell, CellResult
from fer_cli.distributed import cores
from fer_cli.errors import DiskFullError, FerError
from fer_cli.files import disk_full_reason
from fer_cli.options import Session
from fer_cli.pools import Message, Workers
from fer_cli.progress import Progress, silent

#: Seconds between two reports of one cell's progress.
PAUSE = 0.2

EngineName = Literal["local", "ray"]
#: The function that computes a cell, in another process.
Work = Callable[[Cell, Session], CellResult]


class Engine(Protocol):
    """Workers, by number, that compute a cell at a time each."""

    @property
    def idle(self) -> Sequence[int]:
        """Those without a cell."""

    def submit(self, worker: int, cell: Cell) -> None:
        """Let one of them begin with ``cell``."""

    def wait(self) -> list[Message]:
        """What the others have sent, as soon as there is anything; the result is an :class:`Attempt`."""


@contextmanager
def opened(
    name: EngineName, jobs: int | None, device: str, work: Work, command: str, progress: Progress = silent
) -> Iterator[Engine]:
    """The engine called ``name`` for ``work``, whose processes end with the block.

    Raises :class:`~fer_cli.errors.UsageError` if there is no such device here, or Ray is not installed.
    """
    if name == "local":
        with Local(devices(device, jobs), work, command) as workers:
            yield workers
        return
    from fer_cli.prediction.cluster import connected, watched

    # Ray tells on standard output, where data goes, of every process that died.
    with redirect_stdout(StringIO()), connected(None) as ray:
        engine = OnRay(ray, jobs, device, work, command)
        with watched(ray, engine.pool, engine.coordinator, "cells", progress):
            yield engine


def require(name: EngineName) -> None:
    """Raises :class:`~fer_cli.errors.UsageError` where the engine called ``name`` is not installed."""
    if name == "ray":
        from fer_cli.prediction.cluster import require_ray

        require_ray()


def at_a_time(name: EngineName, jobs: int | None, device: str) -> int:
    """How many cells are computed at a time; on a cluster that is not asked, as many as on this machine."""
    return jobs or (cores() if name == "ray" else len(devices(device, None)))


def devices(wanted: str, jobs: int | None) -> list[str]:
    """The device of each worker: ``jobs`` of them, or one a core on a CPU and one a GPU elsewhere.

    All GPUs of the kind that ``wanted`` names are used in turn, unless it names one by number. Raises as
    :func:`~fer_cli.models.device.choose_device` does.
    """
    from fer_cli.models.device import available_devices, choose_device

    chosen = choose_device(wanted)
    if chosen.type == "cpu":
        return ["cpu"] * (jobs or cores())
    here = [chosen] if ":" in wanted else [each for each in available_devices() if each.type == chosen.type]
    return [str(here[place % len(here)]) for place in range(jobs or len(here))]


class Attempt(NamedTuple):
    """What came of a cell in another process, and whether it failed for a reason that nobody foresaw."""

    result: CellResult
    unforeseen: bool = False
    #: That nothing more can be written, which concerns all cells.
    disk_full: DiskFullError | None = None


def attempt(
    work: Work, cell: Cell, device: str, command: str = "", report: Callable[[Any], None] = lambda _: None
) -> Attempt:
    """What ``work`` makes of ``cell``, without raising, whatever happens."""
    begun = monotonic()
    try:
        return Attempt(work(cell, Session(device, command=command, progress=_sparing(report))))
    except Exception as error:
        seconds = monotonic() - begun
        if isinstance(error, DiskFullError):
            return Attempt(failed(cell, error.message), disk_full=error)
        if (full := disk_full_reason(error)) is not None:
            return Attempt(failed(cell, full), disk_full=DiskFullError.at("", full))
        if isinstance(error, FerError):
            return Attempt(failed(cell, error.message, seconds))
        # torch's error of a GPU without memory has this name.
        kind = "out of memory" if "OutOfMemory" in type(error).__name__ else type(error).__name__
        return Attempt(failed(cell, f"{kind}: {error}".partition("\n")[0].rstrip(": "), seconds), unforeseen=True)


class Local:
    """Workers of this machine: a process for each of ``devices``, among which the cores are divided."""

    def __init__(self, devices: Sequence[str], work: Work, command: str = ""):
        self._devices, self._work, self._command = devices, work, command
        # Two processes of one thread each do more than one of two threads: docs/performance.md.
        threads = max(1, cores() // len(devices)) if devices[0] != "cpu" else 1
        # fer_cli.distributed.cores() reads the second.
        shares = {"OMP_NUM_THREADS": str(threads), "LOCAL_WORLD_SIZE": str(len(devices))}
        self._workers = Workers([shares] * len(devices))

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.__exit__()

    @property
    def idle(self) -> list[int]:
        """Those without a cell."""
        return self._workers.idle

    def submit(self, worker: int, cell: Cell) -> None:
        """Let one of them begin with ``cell``."""
        self._workers.submit(worker, attempt, self._work, cell, self._devices[worker], self._command)

    def wait(self) -> list[Message]:
        """What the others have sent, as soon as there is anything."""
        messages = self._workers.wait()
        for message in messages:
            # After an error that nobody foresaw, the memory and the state of a GPU may be anything.
            if message.kind == "result" and message.value.unforeseen:
                self._workers.stop(message.worker)
        return messages


class OnRay:
    """Tasks of a Ray cluster, each with one processor, or one GPU where there are any.

    The benchmark's folder and its datasets must be where every machine of the cluster reaches them.
    """

    def __init__(self, ray: Any, jobs: int | None, device: str, work: Work, command: str = ""):
        from fer_cli.prediction.cluster import Pool, start_coordinator

        self.pool = Pool.on([node["Resources"] for node in ray.nodes() if node["Alive"]], device, threads=1)
        #: An actor that knows whether any cell has begun.
        self.coordinator = start_coordinator(ray, None)
        self._ray, self._device = ray, device if self.pool.gpus else "cpu"
        self._count = jobs or self.pool.actors
        self._task = ray.remote(num_cpus=1, num_gpus=self.pool.gpus, max_retries=0)(_task)
        self._work, self._command = ray.put(work), command
        self._running: dict[Any, int] = {}

    @property
    def idle(self) -> list[int]:
        """Those without a cell."""
        return sorted(set(range(self._count)).difference(self._running.values()))

    def submit(self, worker: int, cell: Cell) -> None:
        """Begin a task for ``cell``."""
        task = self._task.remote(self._work, cell, self._device, self._command, self.coordinator)
        self._running[task] = worker

    def wait(self) -> list[Message]:
        """What one of the others came to, as soon as it is there."""
        from fer_cli.prediction.cluster import error_lines

        [done], _ = self._ray.wait(list(self._running))
        worker = self._running.pop(done)
        try:
            return [Message(worker, "result", self._ray.get(done))]
        except self._ray.exceptions.RayError as error:
            # The traceback of a task ends with what it raised; of a process that died the first line says why.
            last = isinstance(error, self._ray.exceptions.RayTaskError)
            return [Message(worker, "died", error_lines(error)[-1 if last else 0])]


def _task(work: Work, cell: Cell, device: str, command: str, coordinator: Any) -> Attempt:
    coordinator.begin.remote(cell.digest)
    # Ray gives a task its threads; that the other cores are other tasks', cores() reads here.
    os.environ["LOCAL_WORLD_SIZE"] = str(os.cpu_count() or 1)
    return attempt(work, cell, device, command)


def _sparing(report: Callable[[Any], None]) -> Progress:
    """Progress that tells ``report`` no more often than a person can see."""
    told = 0.0

    def progress(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        nonlocal told
        if monotonic() - told >= PAUSE:
            told = monotonic()
            report((stage, done, total))

    return progress


def failed(cell: Cell, reason: str, seconds: float = 0.0) -> CellResult:
    """The result of a cell that failed for ``reason``: one row without a metric."""
    return CellResult(cell, "failed", ({"status": "failed", "reason": reason},), reason=reason, seconds=seconds)


def death(code: int | str | None) -> str:
    """What is said of a process that ended with ``code``: minus a signal's number, or what Ray says."""
    if not isinstance(code, int):
        return f"its process died: {code}"
    if code >= 0:
        return f"its process ended with code {code}"
    names = {number.value: number.name for number in signal.Signals}
    killed = f"its process was killed by signal {-code} ({names.get(-code, 'unknown')})"
    return f"{killed}: out of memory?" if names.get(-code) == "SIGKILL" else killed
