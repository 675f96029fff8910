"""The classes that a model and a dataset have in common, by name."""

from dataclasses import dataclass

import numpy as np

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError
from fer_cli.labels import in_order


@dataclass(frozen=True)
class Common:
    """The ``classes`` to judge by, of those that the model has; ``unknown`` are the dataset's that it has not."""

    model: tuple[str, ...]
    classes: tuple[str, ...]
    unknown: tuple[str, ...]

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """N×model probabilities as N×classes: the other classes' share goes to these in proportion."""
        kept = probabilities[:, [self.model.index(name) for name in self.classes]].astype(float)
        # Where next to nothing is left, these are equally likely.
        kept = np.maximum(kept, 1e-12)
        return kept / kept.sum(axis=1, keepdims=True)

    def notes(self, samples: int) -> list[str]:
        """What is left out on either side; ``samples`` of the dataset show what the model does not know."""
        notes = []
        if self.unknown:
            notes.append(f"Left out: {samples} samples of {', '.join(self.unknown)}, which the model does not know.")
        unused = [name for name in self.model if name not in self.classes]
        if unused:
            notes.append(
                f"Left out: the model's {', '.join(unused)}, which the dataset does not show; the probability goes to "
                "the other classes in proportion."
            )
        return notes


def common_classes(model: tuple[str, ...], shown: set[str], dataset: PreparedDataset, *, own: bool) -> Common:
    """What to judge a model of the classes ``model`` by, where the dataset shows the classes ``shown``.

    On its ``own`` dataset a model keeps all its classes, also those that a fold does not show. Raises
    :class:`~fer_cli.errors.DatasetError` if there are not two classes in common.
    """
    classes = tuple(name for name in model if name in shown or own)
    unknown = in_order(shown.difference(model))
    if len(classes) < 2 or not shown.intersection(model):
        shared = f"only {classes[0]}" if len(classes) == 1 else "no class"
        raise DatasetError(
            f"The model and {dataset.path} have {shared} in common. The model knows {', '.join(model)}; the dataset "
            f"shows {', '.join(in_order(shown)) or 'none'}.",
            hint=f"Prepare the dataset with --classes {','.join(model)}, if its corpus shows them.",
        )
    return Common(model, classes, unknown)
