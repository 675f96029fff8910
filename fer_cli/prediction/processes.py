"""One prediction in several processes, as torchrun starts them."""

import os
from datetime import timedelta

#: One process may have the long videos: the others wait for it.
WAIT = timedelta(days=14)


def rank() -> int:
    """Which process this is, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes predict together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def meet() -> None:
    """Wait until every process has come here."""
    if count() == 1:
        return
    import torch.distributed as distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=WAIT)
    distributed.barrier()


def leave() -> None:
    """Take leave of the other processes."""
    if count() > 1:
        import torch.distributed as distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()
