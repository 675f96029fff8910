"""Training of one fold: a recipe and a prepared dataset in, a run out."""

import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
import transformers
from sklearn.utils.class_weight import compute_class_weight
from torchvision.transforms import v2
from transformers import PreTrainedModel

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.distributed import broadcast, is_main_process, main_process_first, own_device, world_size
from fer_cli.embeddings.embed import Embeddings, Views
from fer_cli.embeddings.inputs import WHOLE, Collator, embed_frozen, model_inputs
from fer_cli.embeddings.neutral import neutral_mean
from fer_cli.files import read_json, remove_abandoned, write_json, written_whole
from fer_cli.models.device import choose_device, device_name
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import CARD, CHECKPOINTS, EPOCHS, LOGS, UNFINISHED, VERSION, Run, run_behind
from fer_cli.training.augmentation import augmentation
from fer_cli.training.folder import finished, identity_of, reserved
from fer_cli.training.leakage import seen_subjects
from fer_cli.training.recipes.base import BuildContext, Recipe
from fer_cli.training.trainer import EPOCH_RULE, FoldTrainer, choose_precision, everything_saved, make_trainer


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

    What the recipe needs trained first is trained into folders inside ``out``. An interrupted training is continued
    from its last whole epoch by the same call. Raises :class:`~fer_cli.errors.DatasetError` if the dataset does not fit
    the recipe, :class:`~fer_cli.errors.RunError` if ``out`` is in the way, or if weights that the training starts from
    have seen subjects of the test fold (unless ``allow_seen``). ``command`` is what the person typed, kept for the
    record.
    """
    chosen = own_device(choose_device(device))
    parts = recipe.prerequisites()
    sides = recipe.sides(dataset)
    classes = recipe.classes(dataset, sides)
    with reserved(out, identity_of(recipe, dataset), chosen):
        folders = {}
        for name, part in parts.items():
            folders[name] = out / name
            if not already_trained(out / name):
                fit(part, dataset, out / name, device=device, allow_seen=allow_seen, command=command, progress=progress)
        seen, insisted_on = seen_subjects(recipe, dataset, sides, folders, allow_seen=allow_seen)
        transformers.set_seed(recipe.seed)
        subjects = tuple(sorted(sides["train"]["subject"].dropna().unique()))
        context = BuildContext(classes, _size(recipe, dataset, folders), subjects, folders)
        model = recipe.build(context)
        model.seen = seen
        preprocessing = Preprocessing(context.size, *recipe.normalisation, face_crop=dataset.crop)
        trainer, frozen = _trainer(recipe, dataset, sides, context, model, preprocessing, chosen, out, progress)

    checkpoint = broadcast(last_whole_checkpoint(out / CHECKPOINTS), chosen)
    trainer.train(resume_from_checkpoint=checkpoint)
    if not trainer.is_world_process_zero():
        main_process_first(lambda: None, chosen)
        return Run.open(out)

    epochs = by_epoch(trainer.state.log_history)
    with written_whole(out / EPOCHS) as part:
        epochs.to_csv(part, index=False)
    everything_saved(trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)).save_pretrained(out)
    preprocessing.save(out)
    remember_people(model, recipe, dataset, preprocessing, sides, frozen.get(WHOLE), out, chosen)
    write_json(
        out / CARD,
        {
            "version": VERSION,
            "model": recipe.name,
            "command": command,
            "recipe": recipe.to_dict(),
            "fold": recipe.fold,
            "classes": list(classes),
            "protocol": dataset.protocol.to_dict(),
            "dataset": {
                "path": str(dataset.path.resolve()),
                "name": dataset.name,
                "corpus": dataset.card["corpus"],
                "fingerprint": dataset.fingerprint,
                "without_subject": dataset.without_subject,
            },
            "subjects": {side: sorted(rows["subject"].dropna().unique()) for side, rows in sides.items()},
            "seen": seen,
            "insisted_on": insisted_on,
            "counts": {side: len(rows) for side, rows in sides.items()},
            "epoch_rule": EPOCH_RULE,
            "best": best(epochs),
            "device": device_name(chosen),
            "processes": world_size(),
            "precision": choose_precision(recipe.precision, chosen),
            "versions": {
                "fer": fer_cli.__version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "transformers": transformers.__version__,
            },
        },
    )
    already_trained(out)
    main_process_first(lambda: None, chosen)
    return Run.open(out)


def already_trained(out: Path) -> bool:
    """Whether ``out`` holds a finished training of any kind; if so, what a kill left there is removed."""
    if not finished(out):
        return False
    if is_main_process():
        (out / UNFINISHED).unlink(missing_ok=True)
        # Optimizer states are several times the model's size, and a finished training has no use for them.
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        remove_abandoned(out)
    return True


def _trainer(
    recipe: Recipe,
    dataset: PreparedDataset,
    sides: dict[str, pd.DataFrame],
    context: BuildContext,
    model: PreTrainedModel,
    preprocessing: Preprocessing,
    device: torch.device,
    out: Path,
    progress: Progress,
) -> tuple[FoldTrainer, dict[str, Embeddings]]:
    """The trainer of ``model``, and what the encoders frozen in it made of the dataset, over which they run once."""
    crops = Crops(dataset.path)
    frozen_alone = WHOLE in model.frozen
    name = recipe.augment if recipe.augment != "auto" else ("none" if frozen_alone else "light")
    vary = augmentation(name, context.size)
    frozen = main_process_first(
        lambda: embed_frozen(
            model,
            dataset,
            preprocessing,
            device=device,
            crops=crops,
            views=None if name == "none" else Views(recipe.views, recipe.seed, name, vary),
            progress=progress,
        ),
        device,
    )
    trainer = make_trainer(
        model,
        recipe,
        model_inputs(
            model,
            sides["train"],
            crops,
            frozen,
            transform=v2.Compose([preprocessing.resize, vary]),
            varied=True,
            extra=recipe.extra_inputs(sides["train"], context),
        ),
        model_inputs(model, sides["val"], crops, frozen, transform=preprocessing.resize),
        Collator(preprocessing),
        device,
        out / CHECKPOINTS,
        progress,
        class_weights=_class_weights(sides["train"], context.classes) if recipe.class_weights else None,
        logs=out / LOGS,
    )
    return trainer, frozen


def _size(recipe: Recipe, dataset: PreparedDataset, parts: dict[str, Path]) -> int:
    """The pictures' side: as asked for, else as the run saw them whose encoder this starts from, else the crops'."""
    runs = [run_behind(source) for source in recipe.ancestors(parts)]
    before = [folder for folder in runs if folder is not None and (folder / CARD).is_file()]
    return recipe.size or (Preprocessing.load(before[-1]).size if before else dataset.crop["size"])


def _class_weights(rows: pd.DataFrame, classes: tuple[str, ...]) -> torch.Tensor:
    weights = compute_class_weight("balanced", classes=np.array(classes), y=rows["label"].to_numpy(dtype=str))
    return torch.tensor(weights, dtype=torch.float32)


def remember_people(
    model: PreTrainedModel,
    recipe: Recipe,
    dataset: PreparedDataset,
    preprocessing: Preprocessing,
    sides: Mapping[str, pd.DataFrame],
    embeddings: Embeddings | None,
    out: Path,
    device: torch.device,
) -> None:
    """Write ``neutral.safetensors`` into the run ``out``, if its model compares people or tells them apart.

    ``embeddings`` are what a frozen encoder made of the dataset; None where the encoder was trained.
    """
    if not (recipe.paired or model.identifies):
        return
    subjects = set(sides["train"]["subject"].dropna())
    found = neutral_mean(
        model.encoder,
        dataset,
        preprocessing,
        subjects=subjects,
        fold=recipe.fold,
        device=device,
        embeddings=embeddings,
    )
    if found is not None:
        found.save(out)


def last_whole_checkpoint(folder: Path) -> str | None:
    """The latest checkpoint that was written to its end, which the trainer's state marks."""
    whole = {}
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        with suppress(OSError, ValueError):
            read_json(state)
            whole[int(state.parent.name.rpartition("-")[2])] = state.parent
    return str(whole[max(whole)]) if whole else None


def by_epoch(history: list[dict[str, float]]) -> pd.DataFrame:
    """The training's history: ``epoch, loss, val_loss, val_accuracy``, the loss being the epoch's mean."""
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
