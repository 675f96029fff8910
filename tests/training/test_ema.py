"""The moving average of the weights: its numbers, what is evaluated and kept, and a training that is resumed."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from fer_cli.errors import RunError
from fer_cli.training.callbacks import WeightAverage
from fer_cli.training.fit import fit
from fer_cli.training.recipes.classifier import ClassifierRecipe
from tests.made import made_model
from tests.training.test_trainer import BASE, trainer, validation_losses

EMA = dataclasses.replace(BASE, ema=0.999, epochs=3, batch_size=4, optimizer="sgd", schedule="constant", warmup=0.0)
SCRATCH = {"encoder": "scratch", "backbone": "mobilenet_v3_small"}


def head(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.head.parameters()])


def test_the_average_moves_by_the_decay_once_there_were_steps_enough():
    model = made_model(features="target")
    average = WeightAverage(model, decay=0.5)
    bias = model.head[-1].bias
    expected = torch.zeros_like(bias)
    for step in range(1, 41):
        torch.nn.init.constant_(bias, float(step))
        average.update(step)
        # Of a short training no more than (1 + n) / (10 + n) is kept, and the first step is all there is.
        decay = min(0.5, (1 + step) / (10 + step))
        expected = torch.full_like(bias, 1.0) if step == 1 else decay * expected + (1 - decay) * step
    with average.applied():
        assert torch.allclose(bias, expected)
        # Half of the last step, a quarter of the one before and so on.
        assert bias[0].item() == pytest.approx(39, abs=1e-3)
    assert torch.equal(bias, torch.full_like(bias, 40.0))


def test_batch_norms_statistics_are_averaged_and_its_counter_is_copied():
    model = made_model(features="target")
    average = WeightAverage(model, decay=0.9)
    norm = model.encoder.features[0][1]
    for step, value in ((1, 0.0), (2, 1.0)):
        norm.running_mean.fill_(value)
        norm.num_batches_tracked.fill_(step)
        average.update(step)
    with average.applied():
        assert torch.allclose(norm.running_mean, torch.full_like(norm.running_mean, 1 - 3 / 12))
        assert norm.num_batches_tracked == 2


def test_the_average_is_evaluated_and_kept_and_the_steps_go_on_from_the_last_one(tmp_path):
    plain = trainer(tmp_path / "plain", dataclasses.replace(EMA, ema=0.0))
    seen = []
    plain.add_callback(_Recorder(seen))
    plain.train()
    assert len(seen) == 6
    expected, kept = seen[0], {}
    for step, weights in enumerate(seen[1:], start=2):
        decay = min(0.999, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights
        kept[step] = expected
    averaged = trainer(tmp_path / "averaged", EMA)
    steps = []
    averaged.add_callback(_Recorder(steps))
    averaged.train()
    # The average has no part in what is learned.
    assert all(torch.equal(one, other) for one, other in zip(seen, steps, strict=True))
    best = averaged.state.best_global_step
    assert torch.allclose(head(averaged.model), kept[best], atol=1e-6)
    losses = [validation_losses(each) for each in (plain, averaged)]
    assert losses[0] != losses[1]
    with torch.inference_mode():
        model = averaged.model.eval()
        logits = model(embeddings=averaged.eval_dataset.table).logits
    loss = torch.nn.functional.cross_entropy(logits, averaged.eval_dataset.labels).item()
    assert min(losses[1]) == pytest.approx(loss, rel=1e-5)


class _Recorder:
    """The head's weights after each step."""

    def __new__(cls, seen: list):
        from transformers import TrainerCallback

        class Recorder(TrainerCallback):
            def on_step_end(self, args, state, control, model=None, **_):
                seen.append(head(model))

        return Recorder()


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(made, tmp_path):
    """With BatchNorm's statistics, a sampler, and an encoder that is frozen for the first of three epochs."""
    recipe = ClassifierRecipe(
        **SCRATCH, epochs=3, batch_size=5, ema=0.9, sampling="balanced", freeze_epochs=1, logger=("none",)
    )
    whole = fit(recipe, made, tmp_path / "whole", device="cpu")

    def interrupt(stage: str, done: int, total: int | None, /, **facts: float | str) -> None:
        if facts.get("epoch") == "3/3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, made, tmp_path / "again", device="cpu", progress=interrupt)
    resumed = fit(recipe, made, tmp_path / "again", device="cpu")
    one, other = (load_file(run.path / "model.safetensors") for run in (whole, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert whole.card["best"] == resumed.card["best"]


def test_a_checkpoint_without_the_last_steps_weights_is_refused(tmp_path):
    from safetensors.torch import save_file

    made = trainer(tmp_path, EMA)
    made.train()
    checkpoint = max((tmp_path / "checkpoints").iterdir(), key=lambda path: int(path.name.partition("-")[2]))
    save_file({"other": torch.zeros(1)}, checkpoint / "last_step.safetensors")
    with pytest.raises(RunError, match="of another model"):
        trainer(tmp_path, EMA).train(resume_from_checkpoint=str(checkpoint))
