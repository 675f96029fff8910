"""Rank, world size and meeting points of one command in several processes, as torchrun starts them.

Importable without torch: the environment says how many processes there are.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
#: How long a process waits for the others at a barrier: the main one may evaluate for long.
WAIT = timedelta(days=14)


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def cores() -> int:
    """How many cores this process has to itself, where several were started together on one machine."""
    present = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, present // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def busy_cores(seconds: float = 0.3) -> float | None:
    """How many cores other programs keep busy just now; None where the system does not say (it is Linux that does)."""
    before = _ticks()
    if before is None:
        return None
    time.sleep(seconds)
    after = _ticks() or before
    busy, every = (now - then for now, then in zip(after, before, strict=True))
    return (os.cpu_count() or 1) * busy / max(every, 1)


def _ticks() -> tuple[int, int] | None:
    """The processors' time that was not idle, and all of it, https://man7.org/linux/man-pages/man5/proc_stat.5.html."""
    try:
        times = [int(each) for each in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    return sum(times) - times[3] - times[4], sum(times)


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def own_device(chosen: "torch.device") -> "torch.device":
    """This process's own GPU of the kind ``chosen``, where there are several processes; else ``chosen``."""
    if world_size() == 1 or chosen.type == "cpu":
        return chosen
    import torch

    return torch.device(chosen.type, int(os.environ.get("LOCAL_RANK", "0")))


def main_process_first(work: Callable[[], T], device: "torch.device") -> T:
    """The result of ``work``, which the other processes begin when the main one has finished and written it."""
    if world_size() == 1:
        return work()
    from accelerate import PartialState

    with PartialState(cpu=device.type == "cpu").main_process_first():
        return work()


def broadcast(value: T, device: "torch.device") -> T:
    """The main process's ``value``, in all processes."""
    if world_size() == 1:
        return value
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=device.type == "cpu")
    return broadcast_object_list([value])[0]


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() == 1:
        return
    import torch.distributed as distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=WAIT)
    distributed.barrier()


def shutdown() -> None:
    """Leave the process group, if there is one."""
    if world_size() == 1:
        return
    import torch.distributed as distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
