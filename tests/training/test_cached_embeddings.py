"""What is frozen is run once over the crops, and the training comes to the same as if it ran in every step."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from fer_cli.dataset.draws import redraw
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.evaluation.inference import run_inference
from fer_cli.models.encoder import MobileNetV3
from fer_cli.options import Session
from fer_cli.training import fit as fitting
from fer_cli.training.fit import fit
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from tests.made import made_model

SMALL = {"backbone": "mobilenet_v3_small", "epochs": 2, "batch_size": 5}


@pytest.fixture
def encoder(tmp_path) -> str:
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


@pytest.mark.parametrize("kind", ["difference", "stage 1"])
def test_a_training_comes_to_the_same_weights_without_it(kind, made, encoder, tmp_path, monkeypatch):
    # Adam divides a gradient by its own size, so that where it is next to nothing rounding decides a whole step.
    # Nor is there anything to standardise by where they are not computed before.
    recipe = DifferenceRecipe(encoder=encoder, optimizer="sgd", lr=0.01, standardise=False, **SMALL)
    if kind == "stage 1":
        recipe = DisentangledRecipe(
            stage=1, encoder="scratch", identity=encoder, augment="none", optimizer="sgd", **SMALL
        )
    with_it = fit(recipe, made, tmp_path / "with", device="cpu")
    monkeypatch.setattr(fitting, "embed_frozen", lambda *_, **__: {})
    without = fit(recipe, made, tmp_path / "without", device="cpu")
    one, other = (load_file(run.path / "model.safetensors") for run in (with_it, without))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.allclose(tensor.float(), other[name].float(), atol=1e-5), name
    assert with_it.card["best"] == pytest.approx(without.card["best"], abs=1e-5)


@pytest.mark.parametrize("kind", ["difference", "disentangled"])
def test_all_that_a_run_keeps_is_the_same_whether_they_were_computed_before(kind, made, encoder, tmp_path):
    """To the byte, in the runs inside it too: of encoders that tell faces hardly apart, rounding decides thresholds."""
    recipe = DifferenceRecipe(encoder=encoder, augment="light", views=2, **SMALL)
    if kind == "disentangled":
        recipe = DisentangledRecipe(encoder="scratch", identity="subjects", **SMALL)
    files = []
    for name in ("before", "after"):
        run = fit(recipe, made, tmp_path / name, device="cpu")
        files.append({path.relative_to(run.path): path.read_bytes() for path in run.path.rglob("*.safetensors")})
    assert len(files[0]) == {"difference": 2, "disentangled": 5}[kind]
    assert files[0] == files[1]


class Counted(MobileNetV3):
    """Counts the pictures that any encoder is given."""

    seen = 0

    def forward(self, pixel_values):
        Counted.seen += len(pixel_values)
        return super().forward(pixel_values)


def test_folds_epochs_and_variants_share_them(made, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_cli.models.backbones.MobileNetV3", Counted)
    Counted.seen = 0
    for fold, features in ((0, "both"), (1, "both"), (1, "difference"), (2, "target")):
        recipe = DifferenceRecipe(encoder=encoder, fold=fold, features=features, **SMALL)
        fit(recipe, made, tmp_path / f"{features}{fold}", device="cpu")
    assert Counted.seen == len(made.metadata)


def test_other_folds_of_the_same_crops_and_fewer_people_share_them(made, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_cli.models.backbones.MobileNetV3", Counted)
    recipe = DifferenceRecipe(encoder=encoder, augment="light", views=2, **SMALL)
    fit(recipe, made, tmp_path / "original", device="cpu")
    Counted.seen = 0
    for name, drawn in (("draw", {"draw": 1}), ("fewer", {"draw": 2, "subjects": 2})):
        run = fit(recipe, redraw(made, tmp_path / name, **drawn), tmp_path / f"run-{name}", device="cpu")
        assert len(run_inference(run, session=Session("cpu")).predictions) == 9
    assert Counted.seen == 0


def test_a_draw_without_its_original_is_embedded_by_itself(made, encoder, tmp_path):
    recipe = DifferenceRecipe(encoder=encoder, **SMALL)
    drawn = redraw(made, tmp_path / "drawn", draw=1)
    before = fit(recipe, drawn, tmp_path / "before", device="cpu")
    made.path.rename(tmp_path / "gone")
    after = fit(recipe, PreparedDataset.open(drawn.path), tmp_path / "after", device="cpu")
    one, other = (load_file(run.path / "model.safetensors") for run in (before, after))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_augmented_views_are_as_many_as_asked_and_change_what_is_learned(made, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_cli.models.backbones.MobileNetV3", Counted)
    Counted.seen = 0
    plain = DifferenceRecipe(encoder=encoder, **SMALL)
    varied = dataclasses.replace(plain, augment="light", views=3)
    one = fit(plain, made, tmp_path / "plain", device="cpu")
    other = fit(varied, made, tmp_path / "varied", device="cpu")
    assert Counted.seen == (1 + 3) * len(made.metadata)
    heads = [load_file(run.path / "model.safetensors")["head.0.weight"] for run in (one, other)]
    assert not torch.equal(*heads)
