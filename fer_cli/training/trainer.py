"""transformers' Trainer for one device, its precision and callbacks; the epoch is chosen by the validation fold."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import patch_environment
from sklearn.metrics import accuracy_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput

from fer_cli.distributed import is_main_process
from fer_cli.embeddings.inputs import Collator
from fer_cli.errors import TrainingError, UsageError
from fer_cli.models.loading import hush, load_checkpoint
from fer_cli.progress import Progress
from fer_cli.training.loaders import explaining_failures, seeded_apart, workers_for
from fer_cli.training.recipes.base import Recipe

#: The epoch whose model is kept is the one with the lowest loss on the validation fold. Accuracy would be tied
#: between many epochs there, a fold holding a few dozen faces.
EPOCH_RULE = "lowest loss on the validation fold"

#: The step schedule of ViT-SE's author.
STEP_EPOCHS, STEP_FACTOR = 10, 0.2
_OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}
#: The ViT's parameters that are matrices by their shape alone.
_NOT_DECAYED = ("cls_token", "mask_token", "position_embeddings")
_SCHEDULES = {"cosine": "cosine", "constant": "constant_with_warmup", "step": "constant_with_warmup"}


class FoldTrainer(Trainer):
    """A Trainer with the recipe's loss in training, and the plain cross-entropy, which compares epochs, elsewhere."""

    # What compute_loss gives is the mean of a batch.
    loss_is_scaled_for_ga = False

    def __init__(self, *, recipe: Recipe, class_weights: Tensor | None, **settings: Any):
        optimizer, options = _OPTIMIZERS[recipe.optimizer]
        super().__init__(optimizer_cls_and_kwargs=(optimizer, {"lr": recipe.lr, "fused": True, **options}), **settings)
        self._recipe = recipe
        self._class_weights = class_weights

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The cross-entropy; in training with class weights, smoothing and the model's own penalty."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        if model.training:
            weights = None if self._class_weights is None else self._class_weights.to(outputs.logits)
            loss = nn.functional.cross_entropy(
                outputs.logits, labels, weight=weights, label_smoothing=self._recipe.label_smoothing
            )
            if (penalty := outputs.get("penalty")) is not None:
                loss = loss + penalty
        else:
            loss = nn.functional.cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The weights of linear and convolutional layers, which alone weight decay falls on.

        Not the scales of BatchNorm and LayerNorm, biases, class token and position embeddings: as
        ``param_groups_weight_decay`` of timm. transformers' own rule goes by names, and torchvision gives its BatchNorm
        none.
        """
        return [
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim > 1 and name.rpartition(".")[2] not in _NOT_DECAYED
        ]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The recipe's schedule; that by steps is unknown to transformers."""
        if self._recipe.schedule == "step" and self.lr_scheduler is None:
            epoch = num_training_steps / self._recipe.epochs
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda step: STEP_FACTOR ** int(step / epoch / STEP_EPOCHS)
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def get_train_dataloader(self) -> DataLoader:
        """The training batches, without a last one of one sample, which has no variance for BatchNorm to divide by."""
        samples, size = len(self.train_dataset), self._recipe.batch_size
        # The setting is read by validation's data loader too, which must give every sample.
        self.args.dataloader_drop_last = samples > size and samples % size == 1
        try:
            return seeded_apart(super().get_train_dataloader())
        finally:
            self.args.dataloader_drop_last = False

    def get_eval_dataloader(self, *arguments: Any, **settings: Any) -> DataLoader:
        """The validation batches."""
        return seeded_apart(super().get_eval_dataloader(*arguments, **settings))

    def train(self, *arguments: Any, **settings: Any) -> Any:
        """Train; raises :class:`~fer_cli.errors.TrainingError` where a loader dies or the GPU's memory is full."""
        with explaining_failures(self._recipe):
            return super().train(*arguments, **settings)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        # Pictures come to the device as bytes, and are augmented and normalised there.
        return self.data_collator.prepare(super()._prepare_inputs(inputs), training=self.model.training)

    def training_step(self, *arguments: Any, **settings: Any) -> Tensor:
        """One batch forward and backward; raises :class:`~fer_cli.errors.TrainingError` if its loss is not finite."""
        loss = super().training_step(*arguments, **settings)
        if not torch.isfinite(loss):
            epoch = int(self.state.epoch or 0) + 1
            raise self._diverged(loss, f"at step {self.state.global_step + 1}, in epoch {epoch}")
        return loss

    def evaluation_loop(self, *arguments: Any, **settings: Any) -> EvalLoopOutput:
        """The validation fold's metrics, the loss being the mean over its samples and not over batches or processes.

        Raises :class:`~fer_cli.errors.TrainingError` if it is not finite.
        """
        output = super().evaluation_loop(*arguments, **settings)
        logits, labels = (torch.from_numpy(np.asarray(part)) for part in (output.predictions, output.label_ids))
        loss = nn.functional.cross_entropy(logits.double(), labels.long()).item()
        if not math.isfinite(loss):
            raise self._diverged(loss, f"on the validation fold, after epoch {round(self.state.epoch or 0)}")
        output.metrics["eval_loss"] = loss
        return output

    def _diverged(self, loss: Tensor | float, where: str) -> TrainingError:
        recipe = self._recipe
        precision = "" if recipe.precision == "float32" else ", --precision float32"
        return TrainingError(
            f"The loss is {float(loss)} {where} of {recipe.epochs}: the training has diverged.",
            hint=f"Type a lower --lr (it was {recipe.lr:g}){precision}, or --clip "
            + (f"below {recipe.clip:g}." if recipe.clip else "1."),
        )

    def _init_training_state(
        self, max_steps: int, num_update_steps_per_epoch: int, num_train_epochs: int, *more: Any
    ) -> tuple[int, int]:
        begun = super()._init_training_state(max_steps, num_update_steps_per_epoch, num_train_epochs, *more)
        if self.state.best_global_step:
            # The state names it by a path that was valid in the folder where the training was begun.
            best = f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
            self.state.best_model_checkpoint = str(Path(self.args.output_dir) / best)
        # Killed after its patience was spent, it has no epoch left; the trainer itself would begin another one.
        spent = 0 < self._recipe.patience <= epochs_without_improvement(self.state.log_history)
        return (num_train_epochs, 0) if spent else begun

    # The trainer's own two load whatever keys they find and pass over the others.
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_checkpoint(self._bare_model(), Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_checkpoint(self._bare_model(), Path(self.state.best_model_checkpoint))

    def _bare_model(self) -> PreTrainedModel:
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)


def make_trainer(
    model: PreTrainedModel,
    recipe: Recipe,
    train: Dataset,
    val: Dataset,
    collate: Collator,
    device: torch.device,
    out: Path,
    progress: Progress,
    *,
    class_weights: Tensor | None = None,
    logs: Path | None = None,
) -> FoldTrainer:
    """A trainer that writes a checkpoint an epoch into ``out`` and ends with the best epoch's weights.

    ``logs`` is the folder for TensorBoard. Raises :class:`~fer_cli.errors.UsageError` if the recipe logs to what is not
    installed, or wants a precision that the device has not.
    """
    hush()
    # What is frozen is not written with every checkpoint: it does not change.
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model._keys_to_ignore_on_save = [
        name for prefix in _frozen(model) for name in model.state_dict() if name.startswith(prefix)
    ]
    assert not trained.intersection(model._keys_to_ignore_on_save)
    trainer = FoldTrainer(
        recipe=recipe,
        class_weights=class_weights,
        model=model.to(memory_format=torch.channels_last),
        args=_arguments(recipe, device, out, samples=len(train), workers=workers_for(recipe.workers, train)),
        train_dataset=train,
        eval_dataset=val,
        data_collator=collate,
        compute_metrics=_accuracy,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporter(progress))
    if recipe.patience:
        trainer.add_callback(Patience(recipe.patience))
    if "tensorboard" in recipe.logger and is_main_process() and logs is not None:
        trainer.add_callback(_tensorboard(logs))
    return trainer


def everything_saved(model: PreTrainedModel) -> PreTrainedModel:
    """The model as trained, its frozen parts included in what ``save_pretrained`` writes."""
    model._keys_to_ignore_on_save = None
    return model


def _frozen(model: PreTrainedModel) -> list[str]:
    frozen = set(map(id, model.frozen.values()))
    return [f"{name}." for name, module in model.named_children() if id(module) in frozen]


def _arguments(recipe: Recipe, device: torch.device, out: Path, *, samples: int, workers: int) -> TrainingArguments:
    precision = choose_precision(recipe.precision, device)
    # TrainingArguments takes the first GPU, or all of them in one process; accelerate reads its device from here.
    chosen = {} if device.type == "cpu" else {"ACCELERATE_TORCH_DEVICE": str(device)}
    with patch_environment(**chosen):
        arguments = TrainingArguments(
            output_dir=str(out),
            use_cpu=device.type == "cpu",
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            per_device_eval_batch_size=recipe.batch_size,
            gradient_accumulation_steps=recipe.accumulate,
            learning_rate=recipe.lr,
            lr_scheduler_type=_SCHEDULES[recipe.schedule],
            warmup_steps=recipe.warmup,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.clip,
            bf16=precision == "bfloat16",
            fp16=precision == "float16",
            tf32=True if has_tf32(device) else None,
            torch_compile=recipe.compile,
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
            label_names=["labels"],
            dataloader_pin_memory=device.type == "cuda",
            dataloader_num_workers=workers,
            dataloader_persistent_workers=workers > 0,
            ddp_find_unused_parameters=False,
            disable_tqdm=True,
            report_to=_reporters(recipe.logger),
            log_level="error",
        )
        arguments.device  # noqa: B018 (decides, and is kept)
    if device.type != "cpu" and arguments.world_size == 1:
        arguments.__dict__["_setup_devices"] = device
        arguments._n_gpu = 1
    return arguments


def _reporters(logs: tuple[str, ...]) -> list[str] | str:
    wanted = [name for name in logs if name in ("wandb", "mlflow")]
    for name in wanted:
        if find_spec(name) is None:
            raise UsageError(f"--logger {name}: {name} is not installed.", hint=f"Type: pip install {name}")
    return wanted or "none"


def _tensorboard(folder: Path) -> TensorBoardCallback:
    from torch.utils.tensorboard import SummaryWriter

    return TensorBoardCallback(SummaryWriter(str(folder)))


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(accuracy_score(prediction.label_ids, np.argmax(prediction.predictions, axis=-1)))}


def choose_precision(wanted: str, device: torch.device) -> str:
    """``float32``, ``bfloat16`` or ``float16``, for ``wanted`` or, if that is ``auto``, for what ``device`` does well.

    GPUs without bfloat16 train in float16, with a scaled loss, if they have units for it (NVIDIA's since Volta: V100,
    T4). Processors without AMX compute bfloat16 two to three times slower than float32. Raises
    :class:`~fer_cli.errors.UsageError` if float16 is wanted of a processor, which cannot train with it.
    """
    if wanted == "float16" and device.type != "cuda":
        raise UsageError(f"--precision float16: not on {device.type}.", hint="Type --precision auto.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16"
        return "float16" if torch.cuda.get_device_capability(device) >= (7, 0) else "float32"
    if device.type == "xpu":
        return "bfloat16" if torch.xpu.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        return "bfloat16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "float32"
    return "float32"


def has_tf32(device: torch.device) -> bool:
    """Whether ``device`` multiplies float32 in TF32 (NVIDIA's since Ampere)."""
    return device.type == "cuda" and torch.version.cuda is not None and torch.cuda.get_device_capability(device)[0] >= 8


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


def epochs_without_improvement(history: list[dict[str, float]]) -> int:
    """How many epochs the trainer's ``history`` has after the one with the lowest loss on the validation fold."""
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
