"""Ray engine: a prediction in blocks of inputs, divided among the actors of a cluster.

Ray Data hands each block to an actor, which reads, decodes, detects and classifies; again to another one where an actor
or its machine dies. The rows come back to this process, which alone writes the checkpoint: nobody else needs to reach
it, and what is not stored was not done. https://docs.ray.io/en/latest/data/batch_inference.html
"""

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from fer_cli.distributed import cores
from fer_cli.errors import DiskFullError, FerError, UsageError
from fer_cli.extras import require
from fer_cli.prediction.actor import BlockActor, Job, Predicted
from fer_cli.prediction.checkpoint import Block
from fer_cli.progress import Progress, silent

#: Threads of an actor, at most: more of them wait for Python's lock, and fewer need the model in memory more often.
THREADS = 4
#: Inputs of a block, at most: what is predicted on once more after an interruption, for each actor.
BLOCK = 64
#: Blocks for each actor at least, so that all of them end at about the same time.
BLOCKS = 4
#: How often a block is begun whose actors die.
ATTEMPTS = 3
#: Bytes of shared memory of a cluster that is started here: the rows of the blocks under way.
OBJECT_STORE = 256_000_000
#: Seconds without a block after which it is said what the cluster's processors do.
PATIENCE = 60.0


class Pool(NamedTuple):
    """The number of ``actors``, and the ``cpus`` and ``gpus`` of each."""

    actors: int
    cpus: int
    gpus: int = 0

    @classmethod
    def on(cls, machines: Sequence[Mapping[str, float]], device: str, threads: int = THREADS) -> "Pool":
        """The pool for machines of so many ``CPU`` and ``GPU``; an actor a GPU where ``device`` lets there be any.

        Actors have ``threads`` at most, and are no larger than the smallest machine. Raises
        :class:`~fer_cli.errors.UsageError` where no actor fits.
        """
        able = [machine for machine in machines if machine.get("CPU", 0) >= 1]
        with_gpu = [machine for machine in able if machine.get("GPU", 0) >= 1]
        if with_gpu and device != "cpu":
            cpus = max(1, min(threads, *(int(each["CPU"] // each["GPU"]) for each in with_gpu)))
            return cls(sum(int(min(each["GPU"], each["CPU"] // cpus)) for each in with_gpu), cpus, 1)
        if device not in ("auto", "cpu"):
            raise UsageError(
                f"--device {device}: no machine of the Ray cluster has a GPU.",
                hint="Type --device auto, or cpu; Ray counts the GPUs that it was started with.",
            )
        if not able:
            raise UsageError(
                "No machine of the Ray cluster has a processor to give: an actor needs one, and would wait for ever.",
                hint="Start a machine with ray start --address HEAD --num-cpus N.",
            )
        smallest = int(min(machine["CPU"] for machine in able))
        cpus = smallest // -(-smallest // threads)
        return cls(sum(int(machine["CPU"]) // cpus for machine in able), cpus)

    def __str__(self) -> str:
        gpu = " and a GPU" if self.gpus else ""
        return f"{self.actors} actor{'s' * (self.actors > 1)} of {self.cpus} thread{'s' * (self.cpus > 1)}{gpu}"


def start_coordinator(ray: Any, job: Any) -> Any:
    """An actor on this machine that tells where the job is, and how many actors died of a block, once it is enough."""
    attempts = ATTEMPTS

    # A class of a function is sent as it is, and its process need not import torch for it.
    class Coordinator:
        def __init__(self, job: list[Any]):
            self._job = job
            self._begun: dict[int, int] = {}

        def job(self) -> list[Any]:
            return self._job

        def begin(self, start: int) -> int:
            died = self._begun.get(start, 0)
            self._begun[start] = died + 1
            return died if died >= attempts else 0

        def begun(self) -> bool:
            return bool(self._begun)

    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Coordinator).remote([ray.put(job)])


def require_ray() -> None:
    """Raises :class:`~fer_cli.errors.UsageError` where Ray Data is not installed."""
    require("ray", "--engine ray", UsageError)


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to the cluster at ``address`` (or RAY_ADDRESS), or to one of this machine alone.

    The latter ends with the block. A connection that is there already is used and kept. Ray's dashboard, its statistics
    of use, and what it prints are off. Raises :class:`~fer_cli.errors.FerError` if there is no such cluster.
    """
    require_ray()
    # Else it reports to its makers, and its C++ part warns of what is meant so: Ray Data keeps the constructor's
    # arguments of its own actors in the object store.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray.data

    if ray.is_initialized():
        yield ray
        return
    given, address = address, address or os.environ.get("RAY_ADDRESS") or "local"
    alone = {"num_cpus": cores(), "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        with _no_stderr():
            chosen = alone if address == "local" else {}
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **chosen)
    except ConnectionError as error:
        where = "Type --ray-address HOST:6379" if given else "Set RAY_ADDRESS to HOST:6379"
        raise FerError(
            f"There is no Ray cluster at {address}: {error_lines(error)[0]}",
            hint=f"{where} as ray start shows it, or leave it for a cluster of this machine.",
        ) from error
    except Exception as error:  # Ray's own start raises plain exceptions
        raise FerError(f"Ray cannot be started: {error_lines(error)[0]}", hint="Type --engine local.") from error
    try:
        yield ray
    finally:
        with _no_interrupt():
            ray.shutdown()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ignore Ctrl-C, of which a second one would leave Ray's processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard what is written to standard error, by C++ too: Ray says there that it was told to say less."""
    with suppress(AttributeError):
        # A program of its own may have none.
        sys.stderr.flush()
    stderr = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def predict_blocks(
    job: Job, blocks: Callable[[int], Sequence[Block]], address: str | None, progress: Progress = silent
) -> Generator[Predicted, None, None]:
    """What is made of each block, as they are finished.

    ``blocks`` is called with the number of actors. Raises what an actor raised, and :class:`~fer_cli.errors.FerError`
    where actors die again and again or the cluster ends.
    """
    # Ray tells on standard output, where data goes, of every actor that died.
    with redirect_stdout(StringIO()), connected(address) as ray:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        pool = Pool.on(machines, job.device)
        chosen = blocks(pool.actors)
        if not chosen:
            return
        pool = pool._replace(actors=min(pool.actors, len(chosen)))
        progress("predicting", 0, None, note=f"Ray: {pool} on {len(machines)} machine{'s' * (len(machines) > 1)}")
        coordinator = start_coordinator(ray, job)
        with _translated(ray), watched(ray, pool, coordinator, "predicting", progress):
            for row in _rows(ray, pool, chosen, coordinator):
                if row["error"]:
                    usage, message, hint = json.loads(row["error"])
                    raise (UsageError if usage else FerError)(message, hint=hint)
                yield Predicted(*(row[name] for name in Predicted._fields))


def _rows(ray: Any, pool: Pool, blocks: Sequence[Block], coordinator: Any) -> Iterator[Mapping[str, Any]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # A row a block, and a block of Ray's a row: it is what an actor is given, and what is done again if that dies.
    # Nothing but the actors needs a processor, so that they may take them all; tasks that read or write could not
    # begin then, and Ray would wait without a word.
    dataset = ray.data.from_items([block._asdict() for block in blocks], override_num_blocks=len(blocks))
    dataset = dataset.map_batches(
        BlockActor,
        batch_size=1,
        batch_format="numpy",
        fn_constructor_args=(coordinator, pool.cpus, pool.gpus > 0),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        # One actor is enough to go on with, where others find no room any more.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=pool.actors, initial_size=pool.actors),
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


@contextmanager
def _translated(ray: Any) -> Iterator[None]:
    """Turn the end of actors and machines into errors that a person can correct."""
    stored = "What is finished is stored: type the same line with --resume to continue."
    try:
        yield
    except ray.exceptions.OutOfDiskError as error:
        raise DiskFullError.at("the folder of Ray's own files, /tmp/ray unless it was started with another") from error
    except ray.exceptions.RayTaskError:
        # A fault of the program, with its traceback on the actor's machine.
        raise
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        if "creation task" in str(error):
            same = "All machines of the cluster need fer-cli[ray], of one version."
            raise FerError(f"An actor could not begin: {error_lines(error)[-1]}", hint=same) from error
        why = f"for want of memory perhaps ({error_lines(error)[0]})"
        raise FerError(f"An actor died and could not be started again, {why}.", hint=stored) from error
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise FerError(f"The Ray cluster ended: {error_lines(error)[0]}", hint=stored) from error


@contextmanager
def watched(ray: Any, pool: Pool, coordinator: Any, stage: str, progress: Progress) -> Iterator[None]:
    """Tell how many processors are free, if nothing has begun after :data:`PATIENCE` seconds in the block."""
    done = threading.Event()

    def watch() -> None:
        with suppress(Exception):
            if not done.wait(PATIENCE) and not ray.get(coordinator.begun.remote()):
                free, all_cpus = (each.get("CPU", 0) for each in (ray.available_resources(), ray.cluster_resources()))
                note = f"nothing has begun yet: it needs {pool.cpus} of the cluster's {all_cpus:g} processors, and "
                progress(stage, 0, None, note=f"{note}{free:g} are free; other work may hold them")

    threading.Thread(target=watch, name="fer-watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def error_lines(error: BaseException) -> list[str]:
    """The lines of an error's text, without the colours that Ray gives them; at least one."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
