"""transformers' Trainer for one device, and its precision; the epoch is chosen by the validation fold."""

import math
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import patch_environment
from sklearn.metrics import accuracy_score, recall_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import EvalPrediction, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput

from fer_cli.dataset.tensors import BatchedDataset
from fer_cli.distributed import is_main_process
from fer_cli.embeddings.inputs import Collator
from fer_cli.errors import TrainingError
from fer_cli.models.base import TrainedModel
from fer_cli.models.device import choose_precision, has_tf32
from fer_cli.models.loading import hush, load_checkpoint
from fer_cli.progress import Progress
from fer_cli.training.callbacks import (
    Averaging,
    EndAfter,
    Freeze,
    Patience,
    Reporter,
    WeightAverage,
    epochs_without_improvement,
    tensorboard,
)
from fer_cli.training.loaders import explaining_failures, seeded_apart, workers_for
from fer_cli.training.optimizer import (
    OPTIMIZERS,
    STEP_EPOCHS,
    STEP_FACTOR,
    ClassSampler,
    TrainingLoss,
    adjust_output,
    class_frequencies,
    decayed_parameters,
    parameter_groups,
    refuse_without_encoder,
)
from fer_cli.training.recipes.base import GradientRecipe

#: How the epoch is chosen whose model is kept, by ``--select``. Accuracy is tied between many epochs where a fold holds
#: a few dozen faces; the first of them is kept.
EPOCH_RULES = {
    "loss": "lowest loss on the validation fold",
    "accuracy": "highest accuracy on the validation fold",
    "uar": "highest average recall on the validation fold",
}
#: What is added to the rule where the model was trained again on all of training and validation.
REFIT_RULE = ", then trained again for as many epochs on training and validation"

_SCHEDULES = {"cosine": "cosine", "constant": "constant_with_warmup", "step": "constant_with_warmup"}


class FoldTrainer(Trainer):
    """A Trainer with the recipe's loss in training, and the plain cross-entropy, which compares epochs, elsewhere.

    ``labels`` are those of the training samples, N class indices or N×C probabilities; None where classes are taken as
    they come. ``end_after`` is the epoch that the training ends with, where that is known before.
    """

    # What compute_loss gives is the mean of a batch.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        *,
        recipe: GradientRecipe,
        class_weights: Tensor | None,
        labels: Tensor | None = None,
        end_after: int | None = None,
        **settings: Any,
    ):
        optimizer, options = OPTIMIZERS[recipe.optimizer]
        super().__init__(optimizer_cls_and_kwargs=(optimizer, {"lr": recipe.lr, "fused": True, **options}), **settings)
        self._recipe = recipe
        self._labels = labels
        self._end_after = end_after
        classes = self._bare_model().config.num_labels
        self._frequencies = None if labels is None else class_frequencies(labels, classes, recipe.sampling)
        self._training_loss = TrainingLoss(recipe, class_weights, self._frequencies).to(self.args.device)
        self._average = WeightAverage(self._bare_model(), recipe.ema) if recipe.ema else None
        self._first_not_finite = torch.zeros((), dtype=torch.long, device=self.args.device)
        if self._average is not None:
            self.add_callback(Averaging(self._average))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The cross-entropy; in training as :class:`TrainingLoss` has it, with the model's own penalty."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        if model.training:
            loss = self._training_loss(outputs.logits, labels)
            if (penalty := outputs.get("penalty")) is not None:
                loss = loss + penalty
        else:
            loss = nn.functional.cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The parameters that weight decay falls on, as :func:`~fer_cli.training.optimizer.decayed_parameters`."""
        return decayed_parameters(model)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimizer; of parameter groups with a rate each where it has several."""
        recipe, bare = self._recipe, self._bare_model()
        if self.optimizer is None and (recipe.encoder_lr, recipe.layer_decay) != (1, 1):
            kind, options = self.optimizer_cls_and_kwargs  # type: ignore[misc]  # __init__ gave it
            groups = parameter_groups(bare, recipe, decayed_parameters(bare))
            self.optimizer_cls_and_kwargs = (kind, {**options, "params": groups})
        return super().create_optimizer(model)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The recipe's schedule; that by steps is unknown to transformers."""
        if self._recipe.schedule == "step" and self.lr_scheduler is None:
            epoch = num_training_steps / self._recipe.epochs
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                cast(torch.optim.Optimizer, optimizer or self.optimizer),
                lambda step: STEP_FACTOR ** int(step / epoch / STEP_EPOCHS),
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The training batches, without a last one of one sample, which has no variance for BatchNorm to divide by."""
        samples, size = len(cast(Sized, self.train_dataset)), self._recipe.batch_size
        # The setting is read by validation's data loader too, which must give every sample.
        self.args.dataloader_drop_last = samples > size and samples % size == 1
        try:
            return seeded_apart(super().get_train_dataloader())
        finally:
            self.args.dataloader_drop_last = False

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[Any] | None:
        if self._recipe.sampling == "natural" or self._labels is None:
            return super()._get_train_sampler(train_dataset)
        labels = self._labels.argmax(dim=1) if self._labels.dim() == 2 else self._labels
        return ClassSampler(labels, self._recipe.sampling, self._recipe.seed)

    def get_eval_dataloader(self, *arguments: Any, **settings: Any) -> DataLoader[Any]:
        """The validation batches."""
        return seeded_apart(super().get_eval_dataloader(*arguments, **settings))

    def train(self, *arguments: Any, **settings: Any) -> Any:
        """Train; raises :class:`~fer_cli.errors.TrainingError` where a loader dies or the GPU's memory is full."""
        with explaining_failures(self._recipe):
            return super().train(*arguments, **settings)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        collate = cast(Collator, self.data_collator)
        return collate.prepare(super()._prepare_inputs(inputs), training=cast(nn.Module, self.model).training)

    def training_step(self, *arguments: Any, **settings: Any) -> Tensor:
        """One batch forward and backward; raises :class:`~fer_cli.errors.TrainingError` if its loss is not finite."""
        loss = super().training_step(*arguments, **settings)
        if loss.device.type == "cpu":
            if not torch.isfinite(loss):
                raise self._diverged_at(loss, self.state.global_step + 1)
        else:
            # To look at a number on a GPU is to wait for it: it is noted there, and read with the mean loss.
            bad = ~torch.isfinite(loss) & (self._first_not_finite == 0)
            self._first_not_finite.masked_fill_(bad, self.state.global_step + 1)
        return loss

    def log(self, logs: dict[str, float], *arguments: Any, **settings: Any) -> None:
        """Log; raises :class:`~fer_cli.errors.TrainingError` if a step's loss since the last time was not finite."""
        if not math.isfinite(logs.get("loss", 0.0)) and (step := int(self._first_not_finite)):
            raise self._diverged_at(logs["loss"], step)
        super().log(logs, *arguments, **settings)

    def evaluation_loop(self, *arguments: Any, **settings: Any) -> EvalLoopOutput:
        """The validation fold's metrics, the loss being the mean over its samples and not over batches or processes.

        Raises :class:`~fer_cli.errors.TrainingError` if it is not finite.
        """
        with self._averaged():
            output = super().evaluation_loop(*arguments, **settings)
        logits, labels = (torch.from_numpy(np.asarray(part)) for part in (output.predictions, output.label_ids))
        loss = nn.functional.cross_entropy(logits.double(), labels.long()).item()
        if not math.isfinite(loss):
            raise self._diverged(loss, f"on the validation fold, after epoch {round(self.state.epoch or 0)}")
        output.metrics["eval_loss"] = loss  # type: ignore[index]  # None where nothing is measured only
        return output

    def keep_last(self) -> None:
        """Take the last step's weights, or their average, where there is no validation to choose an epoch by."""
        if self._average is not None:
            self._average.take()

    def adjust_output(self) -> None:
        """Balance the trained model's logits by the recipe's ``posthoc_adjustment``."""
        if self._recipe.posthoc_adjustment and self._frequencies is not None:
            adjust_output(self._bare_model().output_layer, self._frequencies, self._recipe.posthoc_adjustment)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        if self._average is None:
            yield
        else:
            with self._average.applied():
                yield

    def _diverged_at(self, loss: Tensor | float, step: int) -> TrainingError:
        epoch = math.ceil(step / self.state.max_steps * self._recipe.epochs)
        return self._diverged(loss, f"at step {step}, in epoch {epoch}")

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
            self.state.best_model_checkpoint = str(Path(str(self.args.output_dir)) / best)
        # Killed after its patience was spent, it has no epoch left; the trainer itself would begin another one.
        waited = epochs_without_improvement(self.state.log_history, self._recipe.select)
        spent = 0 < self._recipe.patience <= waited
        if self._end_after is not None:
            spent = begun[0] >= self._end_after
        return (num_train_epochs, 0) if spent else begun

    # A checkpoint's model is what was evaluated: with an average that, and the last step's weights lie next to it.
    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        with self._averaged():
            super()._save(output_dir, state_dict)
        if self._average is not None and self.args.should_save:
            self._average.save_last_step(Path(str(output_dir or self.args.output_dir)))

    # The trainer's own two load whatever keys they find and pass over the others.
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_checkpoint(self._bare_model(), Path(resume_from_checkpoint))
        if self._average is not None:
            self._average.load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        load_checkpoint(self._bare_model(), Path(str(self.state.best_model_checkpoint)))

    def _bare_model(self) -> TrainedModel:
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)


def make_trainer(
    model: TrainedModel,
    recipe: GradientRecipe,
    train: BatchedDataset,
    val: BatchedDataset,
    collate: Collator,
    device: torch.device,
    out: Path,
    progress: Progress,
    *,
    class_weights: Tensor | None = None,
    labels: Tensor | None = None,
    end_after: int | None = None,
    logs: Path | None = None,
) -> FoldTrainer:
    """A trainer that writes a checkpoint an epoch into ``out`` and ends with the best epoch's weights.

    ``labels`` are those of ``train``, see :class:`FoldTrainer`; with ``end_after`` nothing is validated, and the
    training ends with that epoch. ``logs`` is the folder for TensorBoard. Raises
    :class:`~fer_cli.errors.UsageError` if the recipe wants a precision that the device has not, or trains an encoder in
    ways of its own that is frozen.
    """
    hush()
    refuse_without_encoder(model, recipe)
    # What is frozen is not written with every checkpoint: it does not change.
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model._keys_to_ignore_on_save = [
        name for prefix in _frozen(model) for name in model.state_dict() if name.startswith(prefix)
    ]
    assert not trained.intersection(model._keys_to_ignore_on_save)
    workers = workers_for(recipe.workers, train)
    trainer = FoldTrainer(
        recipe=recipe,
        class_weights=class_weights,
        labels=labels,
        end_after=end_after,
        model=model.to(memory_format=torch.channels_last),
        args=_arguments(recipe, device, out, samples=len(train), workers=workers, validate=end_after is None),
        train_dataset=train,
        eval_dataset=val,
        data_collator=collate,
        compute_metrics=_validation_metrics,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporter(progress))
    if recipe.freeze_epochs:
        trainer.add_callback(Freeze(model, recipe.freeze_epochs))
    if end_after is not None:
        trainer.add_callback(EndAfter(end_after))
    elif recipe.patience:
        trainer.add_callback(Patience(recipe.patience, recipe.select))
    if "tensorboard" in recipe.logger and is_main_process() and logs is not None:
        trainer.add_callback(tensorboard(logs))
    return trainer


def everything_saved(model: TrainedModel) -> TrainedModel:
    """The model as trained, its frozen parts included in what ``save_pretrained`` writes."""
    model._keys_to_ignore_on_save = None
    return model


def _frozen(model: TrainedModel) -> list[str]:
    frozen = set(map(id, model.frozen.values()))
    return [f"{name}." for name, module in model.named_children() if id(module) in frozen]


def _arguments(
    recipe: GradientRecipe, device: torch.device, out: Path, *, samples: int, workers: int, validate: bool
) -> TrainingArguments:
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
            eval_strategy="epoch" if validate else "no",
            save_strategy="epoch",
            save_total_limit=2,
            load_best_model_at_end=validate,
            metric_for_best_model=f"eval_{recipe.select}",
            greater_is_better=recipe.select != "loss",
            logging_strategy="steps",
            logging_steps=max(1, samples // recipe.batch_size // 20),
            logging_nan_inf_filter=False,
            remove_unused_columns=False,
            label_names=["labels"],
            dataloader_pin_memory=device.type == "cuda",
            # Else each batch waits for the step before it, and the GPU then for the batch after it to be loaded.
            accelerator_config={"non_blocking": device.type == "cuda"},
            dataloader_num_workers=workers,
            dataloader_persistent_workers=workers > 0,
            ddp_find_unused_parameters=recipe.freeze_epochs > 0,
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
    return [name for name in logs if name in ("wandb", "mlflow")] or "none"


def _validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """The accuracy, and the mean recall over the classes that are shown."""
    truth, predicted = prediction.label_ids, np.argmax(prediction.predictions, axis=-1)
    recall = recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(truth, predicted)), "uar": float(recall)}
