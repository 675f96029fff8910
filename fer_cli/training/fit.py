"""Training: a recipe and a prepared dataset in, a run out."""

import platform
import shutil
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
from fer_cli.embeddings.embed import Views
from fer_cli.embeddings.inputs import WHOLE, Collator, embed_frozen, model_inputs
from fer_cli.embeddings.store import Embeddings
from fer_cli.files import remove_abandoned, write_json, written_whole
from fer_cli.models.device import choose_device, device_name
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import Progress, silent
from fer_cli.runs.run import CARD, CHECKPOINTS, EPOCHS, LOGS, UNFINISHED, VERSION, Run, run_behind
from fer_cli.training.augmentation import augmentation
from fer_cli.training.claim import claimed, finished, identity_of
from fer_cli.training.course import best, by_epoch, last_whole_checkpoint
from fer_cli.training.people import remember_people
from fer_cli.training.precision import choose_precision
from fer_cli.training.recipe import Recipe, Start
from fer_cli.training.seen import seen_subjects
from fer_cli.training.trainer import EPOCH_RULE, FoldTrainer, everything_saved, make_trainer


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
    with claimed(out, identity_of(recipe, dataset), chosen):
        folders = {}
        for name, part in parts.items():
            folders[name] = out / name
            if not already_trained(out / name):
                fit(part, dataset, out / name, device=device, allow_seen=allow_seen, command=command, progress=progress)
        seen, known = seen_subjects(recipe, dataset, sides, folders, allow_seen=allow_seen)
        transformers.set_seed(recipe.seed)
        subjects = tuple(sorted(sides["train"]["subject"].dropna().unique()))
        start = Start(classes, _size(recipe, dataset, folders), subjects, folders)
        model = recipe.build(start)
        model.seen = seen
        preprocessing = Preprocessing(start.size, *recipe.normalisation, face_crop=dataset.crop)
        trainer, frozen = _trainer(recipe, dataset, sides, start, model, preprocessing, chosen, out, progress)

    checkpoint = broadcast(last_whole_checkpoint(out / CHECKPOINTS), chosen)
    trainer.train(resume_from_checkpoint=checkpoint)
    if not trainer.is_world_process_zero():
        main_process_first(lambda: None, chosen)
        return Run.open(out)

    epochs = by_epoch(trainer.state.log_history)
    with written_whole(out / EPOCHS) as beside:
        epochs.to_csv(beside, index=False)
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
            "insisted_on": known,
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
    """Whether ``out`` holds a finished training of any kind; if so, what a kill then left beside it is removed."""
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
    start: Start,
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
    vary = augmentation(name, start.size)
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
            beside=recipe.beside(sides["train"], start),
        ),
        model_inputs(model, sides["val"], crops, frozen, transform=preprocessing.resize),
        Collator(preprocessing),
        device,
        out / CHECKPOINTS,
        progress,
        class_weights=_class_weights(sides["train"], start.classes) if recipe.class_weights else None,
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
