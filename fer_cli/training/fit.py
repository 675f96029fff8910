"""Training: a recipe and a prepared dataset in, a run out."""

import dataclasses
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torchvision
import transformers
from torchvision.transforms import v2

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops, Faces
from fer_cli.errors import DatasetError, RunError
from fer_cli.files import write_json, written_whole
from fer_cli.models.device import choose_device, device_name
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import CARD, CHECKPOINTS, EPOCHS, UNFINISHED, VERSION, Run, overlap
from fer_cli.training.augmentation import Collator, augmentation
from fer_cli.training.recipe import Recipe
from fer_cli.training.trainer import EPOCH_RULE, make_trainer


def fit(
    recipe: Recipe,
    dataset: PreparedDataset,
    out: Path,
    *,
    device: str = "auto",
    allow_seen: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> Run:
    """Train ``recipe`` on ``dataset`` and write the run into the folder ``out``.

    An interrupted training is continued from its last whole epoch by the same call. Raises
    :class:`~fer_cli.errors.DatasetError` if the dataset does not fit the recipe, :class:`~fer_cli.errors.RunError` if
    ``out`` is in the way, or if weights that the training starts from have seen subjects of the test fold (unless
    ``allow_seen``). ``command`` is what the person typed, kept for the record.
    """
    chosen = choose_device(device)
    sides = dataset.split(recipe.fold, paired=recipe.paired)
    classes = _classes(dataset, sides)
    seen = _seen(recipe, dataset, sides, allow_seen=allow_seen)
    transformers.set_seed(recipe.seed)
    model = recipe.build(classes)
    # Only now: weights that cannot be had should not leave a run behind.
    claim(out, _identity(recipe, dataset))

    size = recipe.size or dataset.crop["size"]
    preprocessing = Preprocessing(size, face_crop=dataset.crop)
    crops = Crops(dataset.path)

    def faces(side: str, transform: Callable) -> Faces:
        return Faces(sides[side], crops, model.config.label2id, paired=recipe.paired, transform=transform)

    trainer = make_trainer(
        model,
        recipe,
        faces("train", v2.Compose([preprocessing.resize, augmentation()])),
        faces("val", preprocessing.resize),
        Collator(preprocessing),
        chosen,
        out / CHECKPOINTS,
        progress,
    )
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(out / CHECKPOINTS))
    if not trainer.is_world_process_zero():
        return Run(out, {})

    epochs = _by_epoch(trainer.state.log_history)
    with written_whole(out / EPOCHS) as beside:
        epochs.to_csv(beside, index=False)
    trainer.model.save_pretrained(out)
    preprocessing.save(out)
    write_json(
        out / CARD,
        {
            "version": VERSION,
            "model": recipe.name,
            "command": command,
            "recipe": dataclasses.asdict(recipe),
            "fold": recipe.fold,
            "classes": list(classes),
            "protocol": dataset.protocol.to_dict(),
            "dataset": {
                "path": str(dataset.path.resolve()),
                "name": dataset.name,
                "corpus": dataset.card["corpus"],
                "fingerprint": dataset.fingerprint,
            },
            "subjects": {side: sorted(rows["subject"].dropna().unique()) for side, rows in sides.items()},
            "seen": seen,
            "counts": {side: len(rows) for side, rows in sides.items()},
            "epoch_rule": EPOCH_RULE,
            "best": _best(epochs),
            "device": device_name(chosen),
            "versions": {
                "fer": fer_cli.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "transformers": transformers.__version__,
            },
        },
    )
    (out / UNFINISHED).unlink()
    # Optimizer states are several times the model's size, and a finished training has no use for them.
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return Run.open(out)


def will_resume(recipe: Recipe, dataset: PreparedDataset, out: Path) -> bool:
    """Whether ``out`` holds an unfinished training of this recipe and dataset, which :func:`fit` would go on with."""
    return _unfinished(out) == _identity(recipe, dataset)


def claim(out: Path, identity: dict[str, Any]) -> None:
    """Make sure that ``out`` is new, empty, or an unfinished training with the same ``identity``."""
    if (out / CARD).is_file():
        raise RunError(f"{out} holds a finished run.", mend="Type --out FOLDER with the name of a new folder.")
    if _unfinished(out) == identity:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "an unfinished training with other settings" if (out / UNFINISHED).is_file() else "something else"
        raise RunError(
            f"{out} is in the way: it holds {what}.", mend="Type --out FOLDER with the name of a new folder."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / UNFINISHED, identity)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror}.", mend="Type --out FOLDER.") from error


def _unfinished(out: Path) -> dict[str, Any] | None:
    try:
        return json.loads((out / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _identity(recipe: Recipe, dataset: PreparedDataset) -> dict[str, Any]:
    """All that decides what the trained weights are."""
    return {"model": recipe.name, "recipe": dataclasses.asdict(recipe), "dataset": dataset.fingerprint}


def _classes(dataset: PreparedDataset, sides: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """The protocol's classes that the samples show, every one of which must be there to train on."""
    shown = set().union(*(rows["label"] for rows in sides.values()))
    untaught = shown.difference(sides["train"]["label"])
    if untaught:
        raise DatasetError(
            f"The training folds show no {', '.join(sorted(untaught))}, which other folds would test.",
            mend="Type another --fold, or prepare the dataset with fewer --folds.",
        )
    return tuple(name for name in dataset.protocol.classes if name in shown)


def _seen(
    recipe: Recipe, dataset: PreparedDataset, sides: dict[str, pd.DataFrame], *, allow_seen: bool
) -> dict[str, list[str]]:
    """By corpus, the subjects that this model will have seen, those of the runs it starts from included."""
    corpus = dataset.card["corpus"]
    seen = {corpus: sorted({*sides["train"]["subject"].dropna(), *sides["val"]["subject"].dropna()})}
    for folder in recipe.ancestors():
        before = Run.open(folder).seen
        known = overlap(before, corpus, set(sides["test"]["subject"].dropna()))
        if known and not allow_seen:
            shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
            raise RunError(
                f"{folder} was trained on {len(known)} of the {corpus} subjects that fold {recipe.fold} tests "
                f"({shown}): the accuracy would be that of faces it knows.",
                mend="Start from a run of the same fold; or, if other people have these names, type --allow-seen.",
            )
        for name, subjects in before.items():
            seen[name] = sorted({*seen.get(name, []), *subjects})
    return seen


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end, which the trainer's state marks."""
    steps = {
        int(state.parent.name.rpartition("-")[2]): state.parent
        for state in folder.glob("checkpoint-*/trainer_state.json")
    }
    return str(steps[max(steps)]) if steps else None


def _by_epoch(history: list[dict[str, float]]) -> pd.DataFrame:
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


def _best(epochs: pd.DataFrame) -> dict[str, float]:
    best = epochs.loc[epochs["val_loss"].idxmin()]
    return {"epoch": int(best["epoch"]), **{name: float(best[name]) for name in ("val_loss", "val_accuracy")}}
