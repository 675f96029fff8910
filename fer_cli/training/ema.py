"""The exponential moving average of a model's weights, which is evaluated and kept in place of the last step's.

B. T. Polyak and A. B. Juditsky, *Acceleration of Stochastic Approximation by Averaging*, 1992; as timm's ``ModelEma``,
the statistics of BatchNorm are averaged too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import PreTrainedModel

from fer_cli.errors import RunError
from fer_cli.models.loading import read_weights, save_tensors

#: The weights of the last step in a checkpoint whose model file holds their average.
LAST_STEP = "last_step.safetensors"


class WeightAverage:
    """The average of ``model``'s weights and buffers, those excepted that its checkpoints leave out.

    After step n the average moves by ``1 - min(decay, (1 + n) / (10 + n))`` of the way to the weights, so that a short
    training's average is not that of its beginning.
    """

    def __init__(self, model: PreTrainedModel, decay: float):
        self.decay = decay
        self._model = model
        self._tensors: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps, counted from 1."""
        weights = self._weights()
        if not self._tensors:
            self._copy()
        decay = min(self.decay, (1 + step) / (10 + step))
        floats = [name for name, tensor in weights.items() if tensor.is_floating_point()]
        get_ema_multi_avg_fn(decay)([self._tensors[name] for name in floats], [weights[name] for name in floats], step)
        for name in weights.keys() - set(floats):
            # How many batches BatchNorm has seen.
            self._tensors[name].copy_(weights[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with its average for weights, until the end of the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def take(self) -> None:
        """Give the model its average for good."""
        self._exchange()

    def save_last_step(self, folder: Path) -> None:
        """Write the weights of the last step into the checkpoint ``folder``."""
        save_tensors({name: tensor.contiguous() for name, tensor in self._weights().items()}, folder / LAST_STEP, {})

    def load(self, folder: Path) -> None:
        """Take the model's weights for the average, and give it those of the last step in the checkpoint ``folder``.

        Raises :class:`~fer_cli.errors.RunError` where they are not those of the model.
        """
        weights = self._weights()
        tensors = read_weights(folder / LAST_STEP)
        if {name: tensor.shape for name, tensor in tensors.items()} != {
            name: tensor.shape for name, tensor in weights.items()
        }:
            raise RunError(
                f"The checkpoint {folder} cannot be loaded: its {LAST_STEP} is of another model.",
                hint="Remove the run's folder, and type the line again.",
            )
        self._copy()
        with torch.no_grad():
            for name, tensor in weights.items():
                tensor.copy_(tensors[name])

    def _copy(self) -> None:
        self._tensors = {name: tensor.clone() for name, tensor in self._weights().items()}

    def _weights(self) -> dict[str, Tensor]:
        unsaved = set(self._model._keys_to_ignore_on_save or ())
        return {name: tensor for name, tensor in self._model.state_dict().items() if name not in unsaved}

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, tensor in (self._weights() if self._tensors else {}).items():
            average = self._tensors[name]
            before = tensor.clone()
            tensor.copy_(average)
            average.copy_(before)
