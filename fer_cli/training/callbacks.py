"""Callbacks of the trainer: progress, patience, averaging, freezing, and the end of a repeated training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from fer_cli.errors import RunError, UsageError
from fer_cli.extras import require
from fer_cli.models.base import TrainedModel
from fer_cli.models.loading import read_weights, save_tensors
from fer_cli.progress import Progress

#: The weights of the last step in a checkpoint whose model file holds their average.
LAST_STEP = "last_step.safetensors"


class WeightAverage:
    """The average of ``model``'s weights and buffers, those excepted that its checkpoints exclude.

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


class Reporter(TrainerCallback):
    """Calls ``progress("training", step, steps, epoch=…, loss=…, val_accuracy=…)`` after every step."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._facts: dict[str, Any] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Note the latest loss and validation accuracy."""
        logs = logs or {}
        self._facts |= {
            name: logs[key] for key, name in (("loss", "loss"), ("eval_accuracy", "val_accuracy")) if key in logs
        }

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Pass on how far the training is."""
        epoch = f"{min(int(state.epoch or 0) + 1, int(args.num_train_epochs))}/{int(args.num_train_epochs)}"
        self._progress("training", state.global_step, state.max_steps, epoch=epoch, **self._facts)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Log the epoch's last steps with it: a training resumed from its checkpoint knows nothing of them."""
        control.should_log = True


class Patience(TrainerCallback):
    """Ends a training after ``epochs`` without a better ``metric`` (``loss``, ``accuracy``, ``uar``) on validation.

    They are counted in the trainer's history, which checkpoints hold, so that a resumed training counts on.
    """

    def __init__(self, epochs: int, metric: str):
        self._epochs = epochs
        self._metric = metric

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, if there were that many."""
        if epochs_without_improvement(state.log_history, self._metric) >= self._epochs:
            control.should_training_stop = True


def epochs_without_improvement(history: list[dict[str, float]], metric: str = "loss") -> int:
    """How many epochs the trainer's ``history`` has after the one with the best ``metric`` on the validation fold."""
    values = [entry[f"eval_{metric}"] for entry in history if f"eval_{metric}" in entry]
    best = min if metric == "loss" else max
    return len(values) - 1 - values.index(best(values)) if values else 0


class Freeze(TrainerCallback):
    """Keeps the encoder of ``model`` frozen for the first ``epochs``, BatchNorm in evaluation mode, then trains it."""

    def __init__(self, model: TrainedModel, epochs: int):
        self._model = model
        self._epochs = epochs

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Freeze or release it, by how many epochs are behind."""
        self._model.freeze_encoder(round(state.epoch or 0) < self._epochs)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Release it."""
        self._model.freeze_encoder(False)


class EndAfter(TrainerCallback):
    """Ends a training after ``epochs``, whose schedule is of a longer one."""

    def __init__(self, epochs: int):
        self._epochs = epochs

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, if it is the last."""
        control.should_training_stop |= round(state.epoch) >= self._epochs


class Averaging(TrainerCallback):
    """Takes the weights after every step into their ``average``."""

    def __init__(self, average: WeightAverage):
        self._average = average

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Update the average."""
        self._average.update(state.global_step + 1)


def tensorboard(folder: Path) -> TensorBoardCallback:
    """The callback that logs into the folder ``folder`` for TensorBoard."""
    require("tensorboard", "--logger tensorboard", UsageError)
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoardCallback(SummaryWriter(str(folder)))
