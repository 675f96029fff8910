"""A training's course: its checkpoints, and what its epochs came to."""

import json
from contextlib import suppress
from pathlib import Path

import pandas as pd


def last_whole_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end, which the trainer's state marks."""
    whole = {}
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        with suppress(OSError, ValueError):
            json.loads(state.read_text(encoding="utf-8"))
            whole[int(state.parent.name.rpartition("-")[2])] = state.parent
    return str(whole[max(whole)]) if whole else None


def by_epoch(history: list[dict[str, float]]) -> pd.DataFrame:
    """The training's course: ``epoch, loss, val_loss, val_accuracy``, the loss being the epoch's mean."""
    epochs, losses = [], []
    for entry in history:
        if "loss" in entry:
            losses.append(entry["loss"])
        if "eval_loss" in entry:
            epochs.append(
                {
                    "epoch": round(entry["epoch"]),
                    "loss": sum(losses) / len(losses) if losses else None,
                    "val_loss": entry["eval_loss"],
                    "val_accuracy": entry["eval_accuracy"],
                }
            )
            losses = []
    return pd.DataFrame(epochs)


def best(epochs: pd.DataFrame) -> dict[str, float]:
    """The epoch that was kept: ``epoch, val_loss, val_accuracy``."""
    kept = epochs.loc[epochs["val_loss"].idxmin()]
    return {"epoch": int(kept["epoch"]), **{name: float(kept[name]) for name in ("val_loss", "val_accuracy")}}
