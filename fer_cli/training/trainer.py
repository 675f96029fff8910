"""transformers' Trainer, set up for one device, quiet, and choosing the epoch by the validation fold."""

from pathlib import Path

import numpy as np
import torch
from accelerate.utils import patch_environment
from sklearn.metrics import accuracy_score
from torch.utils.data import Dataset
from transformers import EvalPrediction, PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from fer_cli.models.quiet import hush
from fer_cli.progress import Progress
from fer_cli.training.augmentation import Collator
from fer_cli.training.progress import Reporter
from fer_cli.training.recipe import Recipe

#: The epoch whose model is kept is the one with the lowest loss on the validation fold. Accuracy would be tied
#: between many epochs there, a fold holding a few dozen faces.
EPOCH_RULE = "lowest loss on the validation fold"


def make_trainer(
    model: PreTrainedModel,
    recipe: Recipe,
    train: Dataset,
    val: Dataset,
    collate: Collator,
    device: torch.device,
    checkpoints: Path,
    progress: Progress,
) -> Trainer:
    """A trainer that writes a checkpoint an epoch into ``checkpoints`` and ends with the best epoch's weights."""
    hush()
    trainer = Trainer(
        model=model,
        args=_arguments(recipe, device, checkpoints, samples=len(train)),
        train_dataset=train,
        eval_dataset=val,
        data_collator=collate,
        compute_metrics=_accuracy,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporter(progress))
    return trainer


def _arguments(recipe: Recipe, device: torch.device, checkpoints: Path, *, samples: int) -> TrainingArguments:
    # TrainingArguments takes the first GPU, or all of them in one process; accelerate reads its device from here.
    chosen = {} if device.type == "cpu" else {"ACCELERATE_TORCH_DEVICE": str(device)}
    with patch_environment(**chosen):
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            use_cpu=device.type == "cpu",
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            per_device_eval_batch_size=recipe.batch_size,
            learning_rate=recipe.lr,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            optim="adamw_torch",
            weight_decay=0.01,
            seed=recipe.seed,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            logging_strategy="steps",
            logging_steps=max(1, samples // recipe.batch_size // 20),
            logging_nan_inf_filter=False,
            remove_unused_columns=False,
            # A last batch of one has no variance for BatchNorm to normalise by.
            dataloader_drop_last=samples > recipe.batch_size and samples % recipe.batch_size == 1,
            label_names=["labels"],
            dataloader_pin_memory=device.type == "cuda",
            disable_tqdm=True,
            report_to="none",
            log_level="error",
        )
        arguments.device  # noqa: B018 (decides, and is kept)
    if device.type != "cpu" and arguments.world_size == 1:
        arguments.__dict__["_setup_devices"] = device
        arguments._n_gpu = 1
    return arguments


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(accuracy_score(prediction.label_ids, np.argmax(prediction.predictions, axis=-1)))}
