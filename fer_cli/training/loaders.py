"""Loaders of training batches: their worker processes, and what a person reads when one dies or a GPU is full."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from fer_cli.dataset.schema import MADE_ANEW
from fer_cli.distributed import cores
from fer_cli.errors import DatasetError, TrainingError
from fer_cli.training.recipes.base import GradientRecipe

#: More processes than these decode faster than any one GPU trains.
MOST_WORKERS = 8
_GOES_ON = "the training goes on from its last whole epoch"


def workers_for(wanted: str, dataset: Dataset[Any]) -> int:
    """How many processes load ``dataset``: ``wanted``, or for ``auto`` what decoding needs.

    That is none where each crop is decoded but once, for then a process costs more than it spares, and one a core less
    the training's own otherwise. Embeddings are in memory, and always loaded by the training itself.
    """
    decoded_once = getattr(dataset, "decoded_once", None)
    if decoded_once is None:
        return 0
    if wanted != "auto":
        return int(wanted)
    return 0 if decoded_once else min(MOST_WORKERS, cores() - 1)


def seeded_apart(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The ``loader``, which draws the seeds of its workers from a generator of its own.

    From the global generator it would draw one an epoch without workers and one a training with them, who stay from
    epoch to epoch: the numbers would depend on who loads, and on whether the training was interrupted.
    """
    getattr(loader, "base_dataloader", loader).generator = torch.Generator().manual_seed(0)
    return loader


@contextmanager
def explaining_failures(recipe: GradientRecipe) -> Iterator[None]:
    """Turn what ends a loader or overfills a GPU within the block into an error that says what to type.

    Raises :class:`~fer_cli.errors.TrainingError` for a worker that died and for a GPU without memory, and a worker's
    :class:`~fer_cli.errors.DatasetError` without its traceback.
    """
    try:
        yield
    except DatasetError as error:
        if "DataLoader worker" not in error.message:
            raise
        raise DatasetError(error.message.rpartition("DatasetError: ")[2].strip(), hint=MADE_ANEW) from None
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(recipe) from error
    except RuntimeError as error:
        died = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", str(error))
        if died is None:
            raise
        raise TrainingError(
            f"A process that loads pictures died (process {died[1]}: {died[2].rstrip('. ')}); often there is too "
            "little memory for as many.",
            hint=f"Type the same line with --workers 0: {_GOES_ON}.",
        ) from error


def _out_of_memory(recipe: GradientRecipe) -> TrainingError:
    size = recipe.batch_size
    found = f"The GPU has too little memory for steps of {size} at this size of picture and network."
    if size < 4:
        return TrainingError(found, hint="Type a smaller --size, or --precision bfloat16.")
    half = size // 2
    if size % 2:
        return TrainingError(found, hint=f"Type --batch-size {half} and --out with the name of a new folder.")
    return TrainingError(
        found,
        hint=f"Type the same line with --batch-size {half} --accumulate {recipe.accumulate * 2}, which comes to the "
        f"same steps: {_GOES_ON}.",
    )
