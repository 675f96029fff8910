"""Ways of computing the same training: in two processes, in bfloat16, compiled. They come to the same numbers."""

import dataclasses
import json
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fer_cli.evaluation.inference import run_inference
from fer_cli.models import DifferenceModel
from fer_cli.options import Session
from fer_cli.runs.run import Run
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_dataset, made_model
from tests.test_distributed import torchrun
from tests.training.test_kept_weights import validation_loss

#: Adam divides a gradient by its own size, so that where it is next to nothing rounding decides a whole step.
SGD = {"optimizer": "sgd", "lr": 0.05, "epochs": 3, "logger": ("none",)}


@pytest.fixture
def encoder(tmp_path) -> str:
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "model.safetensors")


def assert_alike(one: Run, other: Run, tolerance: float) -> None:
    """Weights, the loss of every epoch, the epoch that is kept and the probabilities, within ``tolerance``."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=tolerance), name
    epochs = [pd.read_csv(run.path / "epochs.csv") for run in (one, other)]
    assert len(epochs[0]) == SGD["epochs"]
    pd.testing.assert_frame_equal(*epochs, check_exact=False, atol=tolerance, rtol=0)
    assert one.card["best"]["epoch"] == other.card["best"]["epoch"]
    shares = [run_inference(run, split="test", session=Session("cpu")).probabilities for run in (one, other)]
    assert shares[0] == pytest.approx(shares[1], abs=tolerance)


def test_two_processes_come_to_the_numbers_of_one_with_the_same_pictures_a_step(tmp_path, encoder):
    """Two processes of batch 3 are one of batch 6, where nothing in the network depends on its own batch alone.

    So for a frozen encoder and its head without dropout, and for ViT-SE; BatchNorm that trains takes the statistics of
    each process's pictures, as everywhere. 12 pairs train, in whole steps; 9 choose the epoch, and their last step is
    half full: the validation loss is the whole fold's all the same, each face counted once. The first of them speaks.
    """
    dataset = made_dataset(tmp_path / "data" / "made", subjects=11)
    recipe = DifferenceRecipe(encoder=encoder, dropout=0.0, batch_size=6, fold=1, **SGD)
    alone = fit(recipe, dataset, tmp_path / "alone", device="cpu")
    assert alone.card["counts"] == {"train": 12, "val": 9, "test": 12}
    words = ("train", "difference", "--encoder", encoder, "--batch-size", "3", "--fold", "1", "--device", "cpu")
    words += ("--optimizer", "sgd", "--lr", "0.05", "--epochs", "3", "--logger", "none", "--dropout", "0")
    done = torchrun(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("runs/difference-made-fold1\n") == 1
    assert "2 processes" in done.stderr
    assert done.stdout.count("macro-F1") == 1
    together = Run.open(tmp_path / "runs" / "difference-made-fold1")
    loss = validation_loss(together, DifferenceRecipe(fold=1), dataset)
    assert loss == pytest.approx(together.card["best"]["val_loss"], rel=1e-4)
    assert json.loads((together.path / "evaluation" / "metrics.json").read_text())["n"] == 12
    assert not (together.path / "checkpoints").exists()
    assert together.card["processes"] == 2
    assert together.card["recipe"] == {**alone.card["recipe"], "batch_size": 3}
    assert_alike(alone, together, 1e-5)


def test_bfloat16_trains_on_a_processor_and_its_run_is_evaluated(made, tmp_path, monkeypatch):
    """Products are of bfloat16, weights of float32; what is learned is nearly, and not exactly, the same."""
    recipe = DifferenceRecipe(
        encoder="scratch", backbone="mobilenet_v3_small", batch_size=9, augment="none", **{**SGD, "lr": 0.005}
    )
    kinds = set()
    forward = DifferenceModel.forward

    def watched(self, *arguments, **inputs):
        output = forward(self, *arguments, **inputs)
        if self.training:
            kinds.add(self.head(torch.ones(1, self.head[0].in_features)).dtype)
        return output

    full = fit(dataclasses.replace(recipe, precision="float32"), made, tmp_path / "float32", device="cpu")
    monkeypatch.setattr(DifferenceModel, "forward", watched)
    half = fit(dataclasses.replace(recipe, precision="bfloat16"), made, tmp_path / "bfloat16", device="cpu")
    monkeypatch.undo()
    assert kinds == {torch.bfloat16}
    assert half.card["precision"] == "bfloat16"
    assert {tensor.dtype for name, tensor in weights(half).items() if "num_batches" not in name} == {torch.float32}
    losses = [pd.read_csv(run.path / "epochs.csv")["loss"].tolist() for run in (full, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.15)
    assert all(run[-1] < run[0] for run in losses)
    shares = [run_inference(run, split="test", session=Session("cpu")).probabilities for run in (full, half)]
    assert shares[0] == pytest.approx(shares[1], abs=0.1)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_is_trained_and_comes_to_the_same_numbers(made, encoder, tmp_path, monkeypatch):
    """The head on a frozen encoder's embeddings, which compiles in seconds."""
    from torch._dynamo.utils import counters
    from torch._inductor import config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    # In this process: to start others takes longer than what they would compile.
    monkeypatch.setattr(inductor, "compile_threads", 1)
    recipe = DifferenceRecipe(encoder=encoder, dropout=0.0, batch_size=9, **SGD)
    plain = fit(recipe, made, tmp_path / "plain", device="cpu")
    counters.clear()
    compiled = fit(dataclasses.replace(recipe, compile=True), made, tmp_path / "compiled", device="cpu")
    assert counters["stats"]["unique_graphs"] >= 1
    assert counters["aot_autograd"]["ok"] >= 1
    # Saved as any other: nothing of the compiler's wrapper in the names.
    assert_alike(plain, compiled, 1e-5)


def test_what_is_compared_above_has_learned_something(made, encoder, tmp_path):
    """Two trainings that change nothing come to the same numbers too."""
    recipe = DifferenceRecipe(encoder=encoder, dropout=0.0, batch_size=6, **SGD)
    short = fit(dataclasses.replace(recipe, epochs=1), made, tmp_path / "short", device="cpu")
    long = fit(recipe, made, tmp_path / "long", device="cpu")
    assert not torch.allclose(weights(short)["head.0.weight"], weights(long)["head.0.weight"], atol=1e-4)
