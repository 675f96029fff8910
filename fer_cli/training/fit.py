"""Training of one fold: a recipe and a prepared dataset in, a run out."""

import dataclasses
import platform
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torchvision
import transformers
from torch import Tensor

import fer_cli
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import BatchedDataset, Crops
from fer_cli.distributed import broadcast, is_main_process, main_process_first, own_device, world_size
from fer_cli.embeddings.embed import Embeddings, Views
from fer_cli.embeddings.inputs import WHOLE, Collator, embed_frozen, model_inputs, standardise
from fer_cli.embeddings.neutral import neutral_mean
from fer_cli.files import read_json, remove_abandoned, write_json, written_whole
from fer_cli.models.base import TrainedModel
from fer_cli.models.device import choose_device, choose_precision, device_name
from fer_cli.models.loading import hush
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import CARD, CHECKPOINTS, EPOCHS, LOGS, UNFINISHED, VERSION, Run, run_behind, unlisted_behind
from fer_cli.training.augmentation import augmentation_of, mixing_of
from fer_cli.training.folder import finished, identity_of, reserved
from fer_cli.training.optimizer import Teachers, class_frequencies
from fer_cli.training.recipes.base import BuildContext, GradientRecipe, Recipe, Solution
from fer_cli.training.recipes.classifier import ClassifierRecipe
from fer_cli.training.samples import (
    ExtraData,
    JoinedFaces,
    open_extra,
    refuse_extra,
    seen_subjects,
    soft_labels,
    training_sides,
)
from fer_cli.training.trainer import (
    EPOCH_RULES,
    REFIT_RULE,
    everything_saved,
    make_trainer,
)

#: What is measured on the validation rows after each epoch.
METRICS = ("loss", "accuracy", "uar")
#: The folder inside a run that was trained again, of the training that chose its epoch.
SELECTION = "selection"


def fit(
    recipe: Recipe,
    dataset: PreparedDataset,
    out: Path,
    *,
    device: str = "auto",
    allow_seen: bool = False,
    strangers: Collection[Path] = (),
    command: str = "",
    progress: Progress = silent,
) -> Run:
    """Train ``recipe`` on ``dataset`` and write the run into the folder ``out``.

    What the recipe needs trained first is trained into folders inside ``out``. An interrupted training is continued
    from its last whole epoch by the same call. Raises :class:`~fer_cli.errors.DatasetError` if the dataset does not fit
    the recipe, :class:`~fer_cli.errors.RunError` if ``out`` is in the way, or if weights that the training starts from
    have seen subjects of the test fold (unless ``allow_seen``). Further data in the folders ``strangers`` show other
    people, whatever their names. ``command`` is what the person typed, kept for the
    record.
    """
    hush()
    if isinstance(recipe, GradientRecipe):
        recipe.require_loggers()
    chosen = own_device(choose_device(device))
    recipe = recipe.resolved()
    parts = recipe.prerequisites()
    if recipe.refit:
        once: dict[str, Any] = {"refit": False}
        parts = {**parts, SELECTION: dataclasses.replace(recipe, **once)}
    sides = recipe.sides(dataset)
    classes = recipe.classes(dataset, sides)
    extra = open_extra(recipe, dataset, classes)
    sides = training_sides(recipe, dataset, sides, classes)
    with reserved(out, identity_of(recipe, dataset), chosen):
        folders = {}
        for name, part in parts.items():
            folders[name] = out / name
            if not already_trained(out / name):
                fit(
                    part,
                    dataset,
                    out / name,
                    device=device,
                    allow_seen=allow_seen,
                    strangers=strangers,
                    command=command,
                    progress=progress,
                )
        seen, insisted_on = seen_subjects(
            recipe, dataset, sides, folders, extra, allow_seen=allow_seen, strangers=strangers
        )
        unlisted = [each for source in recipe.ancestors(folders) for each in unlisted_behind(source)]
        unlisted = [each for place, each in enumerate(unlisted) if each not in unlisted[:place]]
        selection = Run.open(folders[SELECTION]).card["best"] if recipe.refit else None
        transformers.set_seed(recipe.seed)
        subjects = tuple(sorted(sides["train"]["subject"].dropna().unique()))
        context = BuildContext(classes, _size(recipe, dataset, folders), subjects, folders)
        model = recipe.build(context)
        model.seen = seen
        if recipe.tta != "none":
            model.config.tta = recipe.tta
        preprocessing = recipe.preprocessing(context.size, dataset.crop, folders)
        data = _load(recipe, dataset, sides, extra, context, model, preprocessing, chosen, progress)
        trainer = None
        if isinstance(recipe, GradientRecipe) and data.collate is not None:
            trainer = make_trainer(
                model,
                recipe,
                data.train,
                data.val,
                data.collate,
                chosen,
                out / CHECKPOINTS,
                progress,
                class_weights=_class_weights(data.labels) if recipe.class_weights else None,
                labels=data.labels,
                end_after=None if selection is None else selection["epoch"],
                logs=out / LOGS,
            )

    if trainer is not None:
        checkpoint = broadcast(last_whole_checkpoint(out / CHECKPOINTS), chosen)
        trainer.train(resume_from_checkpoint=checkpoint)
        if recipe.refit:
            trainer.keep_last()
        trainer.adjust_output()
    if not is_main_process():
        main_process_first(lambda: None, chosen)
        return Run.open(out)

    if trainer is not None and isinstance(recipe, GradientRecipe):
        epochs = by_epoch(trainer.state.log_history)
        with written_whole(out / EPOCHS) as table:
            epochs.to_csv(table, index=False)
        model = everything_saved(trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False))
        rule = EPOCH_RULES[recipe.select] + (REFIT_RULE if recipe.refit else "")
        solution = Solution(rule, selection or best(epochs, recipe.select))
        precision = choose_precision(recipe.precision, chosen)
    else:
        solution, precision = recipe.solve(model, data.train, data.val, progress), "float32"
    model.save_pretrained(out)
    preprocessing.save(out)
    remember_people(model, recipe, dataset, preprocessing, sides, data.frozen.get(WHOLE), out, chosen)
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
            **({"extra_data": [each.to_dict() for each in extra]} if extra else {}),
            **({"unlisted": unlisted} if unlisted else {}),
            "epoch_rule": solution.rule,
            "best": dict(solution.best),
            **({"tried": [dict(each) for each in solution.tried]} if solution.tried else {}),
            "device": device_name(chosen),
            "processes": world_size(),
            "precision": precision,
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


@dataclasses.dataclass(frozen=True)
class _Data:
    """What a model is fitted to and chosen by, the training ``labels``, and what its ``frozen`` encoders made of it.

    ``collate`` makes batches of it, for a trainer.
    """

    train: BatchedDataset
    val: BatchedDataset
    labels: Tensor
    frozen: Mapping[str, Embeddings]
    collate: Collator | None


def _load(
    recipe: Recipe,
    dataset: PreparedDataset,
    sides: Mapping[str, pd.DataFrame],
    extra: list[ExtraData],
    context: BuildContext,
    model: TrainedModel,
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Progress,
) -> _Data:
    """The data as ``model`` takes them; encoders that are frozen in it run over each dataset once."""
    inputs = recipe.extra_inputs(sides["train"], context)
    refuse_extra(recipe, extra, inputs)
    views, collate = None, None
    if isinstance(recipe, GradientRecipe):
        vary = augmentation_of(recipe, model)
        mix = mixing_of(recipe, model, inputs)
        if isinstance(recipe, ClassifierRecipe) and recipe.teacher:
            mix = Teachers(recipe, context.classes, preprocessing, device, mix)
        collate = Collator(preprocessing, vary=vary.batch, mix=mix)
        views = None if vary.is_none else Views(recipe.views, recipe.seed, recipe.augment, vary)
    labels = _labels(recipe, dataset, sides["train"], extra, context.classes)

    def load(one: PreparedDataset) -> tuple[Crops, dict[str, Embeddings]]:
        # A frozen encoder sees each crop once, which is decoded for that and not kept.
        passes = WHOLE not in model.frozen
        crops = Crops.of(one, context.size, progress=progress) if passes else Crops(one.path, size=context.size)
        return crops, embed_frozen(
            model, one, preprocessing, device=device, crops=crops, views=views, progress=progress
        )

    def faces(loaded: tuple[Crops, dict[str, Embeddings]], rows: pd.DataFrame, labels: Tensor) -> BatchedDataset:
        shares = labels if recipe.soft_labels else None
        return model_inputs(model, rows, *loaded, varied=True, extra=inputs, soft_labels=shares)

    loaded = main_process_first(lambda: load(dataset), device)
    parts = [faces(loaded, sides["train"], labels[0])]
    for each, own in zip(extra, labels[1:], strict=True):
        parts.append(faces(main_process_first(partial(load, each.dataset), device), each.rows, own))
    crops, frozen = loaded
    if WHOLE in frozen:
        standardise(model, sides["train"], frozen)
    train = parts[0] if len(parts) == 1 else JoinedFaces(parts)
    return _Data(train, model_inputs(model, sides["val"], crops, frozen), torch.cat(labels), frozen, collate)


def _size(recipe: Recipe, dataset: PreparedDataset, parts: dict[str, Path]) -> int:
    """The pictures' side: as asked for, else as the run saw them whose encoder this starts from, else the crops'."""
    runs = [run_behind(source) for source in recipe.ancestors(parts)]
    before = [folder for folder in runs if folder is not None and (folder / CARD).is_file()]
    if recipe.size or not before:
        return recipe.size or recipe.input_size(parts) or dataset.crop["size"]
    return Preprocessing.load(before[-1]).size


def _labels(
    recipe: Recipe, dataset: PreparedDataset, rows: pd.DataFrame, extra: list[ExtraData], classes: tuple[str, ...]
) -> list[Tensor]:
    """The labels of the training ``rows`` and of those of each ``extra`` dataset: N class indices or N×C shares."""
    parts = [(dataset, rows), *((each.dataset, each.rows) for each in extra)]
    if recipe.soft_labels:
        return [soft_labels(one, chosen, classes) for one, chosen in parts]
    return [torch.from_numpy(pd.Index(classes).get_indexer(pd.Index(chosen["label"]))) for _, chosen in parts]


def _class_weights(labels: Tensor) -> Tensor:
    """One over each class's frequency, scaled as scikit-learn's ``balanced``: the mean over samples is 1."""
    frequencies = class_frequencies(labels, labels.shape[1] if labels.dim() == 2 else int(labels.max()) + 1, "natural")
    return len(labels) / (len(frequencies) * frequencies)


def remember_people(
    model: TrainedModel,
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
    """The training's history: ``epoch, loss, val_loss, val_accuracy, val_uar``, the loss being the epoch's mean.

    Of a training that validates nothing there are no more than the first two.
    """
    epochs, total, logged, begun = [], 0.0, 0.0, 0.0
    validated = any("eval_loss" in entry for entry in history)
    for entry in history:
        if "loss" in entry:
            # The mean of the steps since the last entry, which an epoch's last entry has fewer of.
            total += entry["loss"] * (entry["step"] - logged)
            logged = entry["step"]
        whole = "loss" in entry and float(entry["epoch"]).is_integer()
        if "eval_loss" in entry if validated else whole:
            epochs.append(
                {
                    "epoch": round(entry["epoch"]),
                    "loss": total / (logged - begun),
                    **{f"val_{name}": entry[f"eval_{name}"] for name in METRICS if f"eval_{name}" in entry},
                }
            )
            total, begun = 0.0, logged
    return pd.DataFrame(epochs)


def best(epochs: pd.DataFrame, select: str = "loss") -> dict[str, float]:
    """The epoch that was kept, the first with the best ``select``: ``epoch, val_loss, val_accuracy, val_uar``."""
    metric = epochs[f"val_{select}"]
    kept = epochs.iloc[int(metric.argmin() if select == "loss" else metric.argmax())]
    return {
        "epoch": int(kept["epoch"]),
        **{name: float(kept[name]) for name in epochs.columns if name.startswith("val_")},
    }
