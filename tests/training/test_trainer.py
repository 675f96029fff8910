import dataclasses

import pytest
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from fer_cli.embeddings.inputs import Collator
from fer_cli.errors import TrainingError
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.progress import silent
from fer_cli.training import trainer as training
from fer_cli.training.callbacks import Reporter
from fer_cli.training.fit import by_epoch
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.trainer import make_trainer
from tests.made import made_model

CPU = torch.device("cpu")
LABELS = torch.tensor([0, 0, 0, 1, 2, 0, 1])
BASE = DifferenceRecipe(epochs=20, batch_size=7, logger=("none",))


class Embedded(Dataset):
    """Seven embeddings of 576 numbers."""

    def __init__(self, labels: torch.Tensor = LABELS):
        self.table = torch.randn(len(labels), 576, generator=torch.Generator().manual_seed(0))
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, places):
        return {"embeddings": self.table[places], "labels": self.labels[places]}


def trainer(tmp_path, recipe=BASE, model=None, progress=silent, **settings):
    model = model or made_model(features="target")
    collate = Collator(Preprocessing(32))
    return make_trainer(
        model, recipe, Embedded(), Embedded(), collate, CPU, tmp_path / "checkpoints", progress, **settings
    )


def batch() -> dict[str, torch.Tensor]:
    return Embedded().__getitems__(list(range(len(LABELS))))


def test_the_loss_in_training_weighs_classes_and_smooths_labels_and_elsewhere_does_not(tmp_path):
    weights = torch.tensor([0.5, 1.0, 2.0])
    made = trainer(tmp_path, dataclasses.replace(BASE, label_smoothing=0.1), class_weights=weights)
    made.model.train()
    loss, outputs = made.compute_loss(made.model, batch(), return_outputs=True)
    expected = functional.cross_entropy(outputs.logits, LABELS, weight=weights, label_smoothing=0.1)
    assert torch.equal(loss, expected)
    made.model.eval()
    assert torch.equal(made.compute_loss(made.model, batch()), functional.cross_entropy(outputs.logits, LABELS))


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.0, {0: 1.0, 10: 1.0, 19: 1.0}),
        ("constant", 0.5, {0: 0.0, 5: 0.5, 10: 1.0, 19: 1.0}),
        ("cosine", 0.0, {0: 1.0, 10: 0.5, 20: 0.0}),
        ("cosine", 0.5, {5: 0.5, 10: 1.0, 15: 0.5, 20: 0.0}),
        # ViT-SE's author: a fifth every ten epochs, of a step each here.
        ("step", 0.0, {0: 1.0, 9: 1.0, 10: 0.2, 19: 0.2, 20: 0.04}),
    ],
)
def test_the_learning_rate_follows_its_schedule(tmp_path, schedule, warmup, expected):
    made = trainer(tmp_path, dataclasses.replace(BASE, schedule=schedule, warmup=warmup))
    made.create_optimizer_and_scheduler(20)
    rates = []
    for _ in range(21):
        rates.append(made.lr_scheduler.get_last_lr()[0] / BASE.lr)
        made.optimizer.step()
        made.lr_scheduler.step()
    assert {step: rates[step] for step in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_is_the_one_asked_for(tmp_path, name, kind):
    made = trainer(tmp_path, dataclasses.replace(BASE, optimizer=name, lr=0.005, weight_decay=0.02))
    made.create_optimizer_and_scheduler(20)
    optimizer = getattr(made.optimizer, "optimizer", made.optimizer)
    assert type(optimizer) is kind
    assert {group["initial_lr"] for group in optimizer.param_groups} == {0.005}
    assert 0.02 in {group["weight_decay"] for group in optimizer.param_groups}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(made.model.head.parameters()))


def test_gradients_are_clipped_and_accumulated_as_asked(tmp_path):
    arguments = trainer(tmp_path, dataclasses.replace(BASE, clip=0.5, accumulate=3)).args
    assert arguments.max_grad_norm == 0.5
    assert arguments.gradient_accumulation_steps == 3
    assert arguments.bf16 is arguments.fp16 is False


def test_accumulated_small_steps_are_one_large_step(tmp_path):
    """On embeddings, where no BatchNorm sees the batch: 2 + 2 + 2 pictures accumulated are 6 at once."""
    ends = []
    for batch_size, accumulate in ((6, 1), (2, 3)):
        recipe = dataclasses.replace(
            BASE, epochs=2, batch_size=batch_size, accumulate=accumulate, optimizer="sgd", warmup=0.0, clip=0.0
        )
        made = trainer(tmp_path / str(batch_size), recipe)
        made.train_dataset = made.eval_dataset = Embedded(LABELS[:6])
        made.train()
        ends.append(torch.cat([parameter.detach().flatten() for parameter in made.model.head.parameters()]))
    assert torch.allclose(*ends, atol=1e-5)


#: Labels that contradict those trained on: what is learned only makes the validation loss worse.
TURNED = (LABELS + 1) % 3
TIRING = dataclasses.replace(
    BASE, patience=2, lr=0.1, optimizer="sgd", schedule="constant", warmup=0.0, clip=0.0, batch_size=4
)


def validation_losses(made) -> list[float]:
    return [entry["eval_loss"] for entry in made.state.log_history if "eval_loss" in entry]


def test_it_stops_when_the_validation_loss_no_longer_falls(tmp_path):
    made = trainer(tmp_path, TIRING)
    made.eval_dataset = Embedded(TURNED)
    made.train()
    assert made.state.epoch < 20
    losses = validation_losses(made)
    assert len(losses) == 1 + losses.index(min(losses)) + 2
    untiring = trainer(tmp_path / "untiring", dataclasses.replace(TIRING, patience=0))
    untiring.eval_dataset = made.eval_dataset
    untiring.train()
    assert untiring.state.epoch == 20


@pytest.mark.parametrize("spent", [0, 1, 2])
def test_a_resumed_training_has_the_patience_that_was_left(tmp_path, spent):
    """Interrupted ``spent`` epochs after the best one; with 2 of 2 it was about to end."""
    whole = trainer(tmp_path / "whole", TIRING)
    whole.eval_dataset = Embedded(TURNED)
    whole.train()
    losses = validation_losses(whole)
    last = losses.index(min(losses)) + 1 + spent

    def interrupt(*_, **facts):
        raise KeyboardInterrupt

    def begin(progress=silent):
        made = trainer(tmp_path, TIRING, progress=progress)
        made.eval_dataset = Embedded(TURNED)
        return made

    begun = begin(lambda stage, done, total, **_: interrupt() if done > 2 * last else None)
    if spent == 2:
        begun._load_best_model = interrupt
    with pytest.raises(KeyboardInterrupt):
        begun.train()
    checkpoint = tmp_path / "checkpoints" / f"checkpoint-{2 * last}"
    steps = []
    resumed = begin(lambda stage, done, total, **_: steps.append(done))
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert steps == list(range(2 * last + 1, 2 * len(losses) + 1))
    assert validation_losses(resumed) == losses
    assert by_epoch(resumed.state.log_history).equals(by_epoch(whole.state.log_history))
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", range(1, 15))
def test_case_23_the_validation_loss_is_the_mean_over_the_whole_fold(tmp_path, size):
    """Of 8 training samples in batches of 7 the last is dropped; of the validation fold, of whatever size, none."""
    made = trainer(tmp_path, dataclasses.replace(BASE, epochs=1))
    made.train_dataset = Embedded(torch.cat([LABELS, LABELS[:1]]))
    made.eval_dataset = fold = Embedded(LABELS.repeat(2)[:size])
    made.train()
    assert made.state.global_step == 1
    with torch.inference_mode():
        logits = made.model.eval()(embeddings=fold.table).logits
    assert validation_losses(made) == pytest.approx([functional.cross_entropy(logits, fold.labels).item()], rel=1e-5)


def test_an_epochs_loss_is_the_mean_of_its_steps():
    history = [
        {"epoch": 0.4, "step": 2, "loss": 4.0},
        {"epoch": 0.8, "step": 4, "loss": 2.0},
        {"epoch": 1.0, "step": 5, "loss": 1.0},
        {"epoch": 1.0, "step": 5, "eval_loss": 3.0, "eval_accuracy": 0.5},
        {"epoch": 2.0, "step": 10, "loss": 7.0},
        {"epoch": 2.0, "step": 10, "eval_loss": 2.0, "eval_accuracy": 0.6},
    ]
    assert by_epoch(history)["loss"].tolist() == [(2 * 4 + 2 * 2 + 1) / 5, 7]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_ends_at_the_first_loss_that_is_not_finite(tmp_path, accumulate):
    made = trainer(
        tmp_path,
        dataclasses.replace(BASE, batch_size=2, accumulate=accumulate, lr=0.5, clip=0.0, precision="bfloat16"),
    )
    steps = []
    made.add_callback(Reporter(lambda stage, done, *_, **__: steps.append(done)))
    made.train_dataset = Embedded()
    made.train_dataset.table[3] = torch.inf
    with pytest.raises(TrainingError, match=r"The loss is nan at step (\d), in epoch 1 of 20") as caught:
        made.train()
    assert caught.value.message.count(f"step {len(steps) + 1},") == 1
    assert all(torch.isfinite(parameter).all() for parameter in made.model.parameters())
    for typed in ("lower --lr (it was 0.5)", "--clip 1", "--precision float32"):
        assert typed in caught.value.hint
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_training_ends_when_the_validation_loss_is_not_finite(tmp_path):
    made = trainer(tmp_path, BASE)
    made.eval_dataset = Embedded()
    made.eval_dataset.table[3] = torch.nan
    with pytest.raises(TrainingError, match="The loss is nan on the validation fold, after epoch 1 of 20") as caught:
        made.train()
    assert "--clip below 1" in caught.value.hint
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(("logger", "written"), [(("tensorboard",), True), (("none",), False)])
def test_tensorboards_record_goes_where_it_is_told(tmp_path, logger, written):
    logs = tmp_path / "logs"
    trainer(tmp_path, dataclasses.replace(BASE, epochs=1, logger=logger), logs=logs).train()
    assert len(list(logs.glob("events.out.tfevents.*"))) == written


def test_a_training_on_the_processor_takes_no_gpu(tmp_path):
    arguments = trainer(tmp_path).args
    assert arguments.device == CPU
    assert arguments.n_gpu == 0


@pytest.mark.parametrize(("device", "expected"), [(torch.device("cuda", 0), True), (CPU, False)])
def test_a_gpu_takes_a_batch_while_it_computes_the_one_before(tmp_path, monkeypatch, device, expected):
    given = {}

    class Arguments:
        device, world_size, _n_gpu = CPU, 1, None

        def __init__(self, **settings):
            given.update(settings)

    monkeypatch.setattr(training, "TrainingArguments", Arguments)
    monkeypatch.setattr(training, "has_tf32", lambda device: False)
    recipe = dataclasses.replace(BASE, precision="float32")
    training._arguments(recipe, device, tmp_path, samples=7, workers=0, validate=True)
    assert given["dataloader_pin_memory"] is given["accelerator_config"]["non_blocking"] is expected


def test_checkpoints_leave_out_what_is_frozen(tmp_path):
    from safetensors.torch import load_file

    made = trainer(tmp_path, dataclasses.replace(BASE, epochs=1))
    made.train()
    [checkpoint] = (tmp_path / "checkpoints").iterdir()
    assert {name.split(".")[0] for name in load_file(checkpoint / "model.safetensors")} == {"head"}
    training.everything_saved(made.model).save_pretrained(tmp_path / "whole")
    assert {name.split(".")[0] for name in load_file(tmp_path / "whole" / "model.safetensors")} == {"head", "encoder"}
