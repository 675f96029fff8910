"""The trainer's progress, passed on to whoever watches."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fer_cli.progress import Progress


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
