"""Callbacks of the trainer: progress, patience, averaging, freezing, and the end of a repeated training."""

from typing import Any

from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fer_cli.progress import Progress
from fer_cli.training.ema import WeightAverage


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

    def __init__(self, model: PreTrainedModel, epochs: int):
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
