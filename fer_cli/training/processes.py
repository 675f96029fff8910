"""One training in several processes, as torchrun starts them: one a GPU, or several on CPUs."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def own_device(chosen: torch.device) -> torch.device:
    """This process's own GPU of the kind ``chosen``, where there are several processes; else ``chosen``."""
    if count() > 1 and chosen.type != "cpu":
        return torch.device(chosen.type, int(os.environ.get("LOCAL_RANK", "0")))
    return chosen


def first_then_others(work: Callable[[], T], device: torch.device) -> T:
    """What ``work`` gives, the first process having finished it (and written what it writes) before others begin."""
    if count() == 1:
        return work()
    from accelerate import PartialState

    with PartialState(cpu=device.type == "cpu").main_process_first():
        return work()


def agreed(value: T, device: torch.device) -> T:
    """The first process's ``value``, in all of them."""
    if count() == 1:
        return value
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=device.type == "cpu")
    return broadcast_object_list([value])[0]


def leave() -> None:
    """Take leave of the other processes, once all have come so far."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
