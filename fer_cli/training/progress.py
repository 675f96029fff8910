"""The trainer's callbacks: its progress, passed on to whoever watches, and when it ends early."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fer_cli.progress import Progress
from fer_cli.training.course import epochs_without_improvement


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
    """Ends a training after ``epochs`` without a lower loss on the validation fold.

    They are counted in the trainer's history, which checkpoints hold, so that a resumed training counts on.
    """

    def __init__(self, epochs: int):
        self._epochs = epochs

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop, if there were that many."""
        if epochs_without_improvement(state.log_history) >= self._epochs:
            control.should_training_stop = True
