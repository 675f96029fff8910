"""A training's course: its checkpoints, and what its epochs came to."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from fer_cli.errors import RunError
from fer_cli.files import read_json


def last_whole_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end, which the trainer's state marks."""
    whole = {}
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        with suppress(OSError, ValueError):
            read_json(state)
            whole[int(state.parent.name.rpartition("-")[2])] = state.parent
    return str(whole[max(whole)]) if whole else None


def load_checkpoint(model: PreTrainedModel, folder: Path) -> None:
    """Give ``model`` the weights in the checkpoint ``folder``: all that it saves, and nothing else.

    By way of ``from_pretrained``, which alone undoes the renaming of keys by ``save_pretrained``. Raises
    :class:`~fer_cli.errors.RunError` if one is missing, unexpected, of another shape or not finite.
    """
    unsaved = set(model._keys_to_ignore_on_save or ())
    try:
        # What is not saved is initialised there, which must not move the training's random numbers.
        with torch.random.fork_rng(devices=[]):
            saved, found = type(model).from_pretrained(folder, output_loading_info=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _broken(folder, str(error).splitlines()[0]) from error
    strange = sorted(set(found["missing_keys"]).symmetric_difference(unsaved).union(found["unexpected_keys"]))
    if strange:
        raise _broken(folder, f"{len(strange)} weights are missing or unexpected, {strange[0]} first")
    weights = {name: tensor for name, tensor in saved.state_dict().items() if name not in unsaved}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise _broken(folder, f"{name} is not finite")
    model.load_state_dict(weights, strict=False)


def _broken(folder: Path, why: str) -> RunError:
    return RunError(
        f"The checkpoint {folder} cannot be loaded: {why}.", mend="Remove the run's folder, and type the line again."
    )


def epochs_without_improvement(history: list[dict[str, float]]) -> int:
    """How many epochs the trainer's ``history`` has after the one with the lowest loss on the validation fold."""
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def by_epoch(history: list[dict[str, float]]) -> pd.DataFrame:
    """The training's course: ``epoch, loss, val_loss, val_accuracy``, the loss being the epoch's mean."""
    epochs, total, logged, begun = [], 0.0, 0, 0
    for entry in history:
        if "loss" in entry:
            # The mean of the steps since the last entry, which an epoch's last entry has fewer of.
            total += entry["loss"] * (entry["step"] - logged)
            logged = entry["step"]
        if "eval_loss" in entry:
            epochs.append(
                {
                    "epoch": round(entry["epoch"]),
                    "loss": total / (logged - begun),
                    "val_loss": entry["eval_loss"],
                    "val_accuracy": entry["eval_accuracy"],
                }
            )
            total, begun = 0.0, logged
    return pd.DataFrame(epochs)


def best(epochs: pd.DataFrame) -> dict[str, float]:
    """The epoch that was kept: ``epoch, val_loss, val_accuracy``."""
    kept = epochs.loc[epochs["val_loss"].idxmin()]
    return {"epoch": int(kept["epoch"]), **{name: float(kept[name]) for name in ("val_loss", "val_accuracy")}}
