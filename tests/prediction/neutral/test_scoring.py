import cv2
import numpy as np
import pytest
import torch

from fer_cli import pretrained
from fer_cli.embeddings.neutral import NeutralMean
from fer_cli.errors import ModelError
from fer_cli.faces.align import CropTemplate
from fer_cli.models import Classifier, Preprocessing
from fer_cli.prediction.neutral.scoring import ClassifierScorer, DistanceScorer, choose_scorer, recropped
from fer_cli.prediction.pipeline import to_tensor
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_model
from tests.prediction.runs import write_run
from tests.pretrained.made import packaged_stand_in

MEAN = NeutralMean(torch.zeros(576), 3)
WITH_NEUTRAL = ("neutral", *CLASSES)


@pytest.fixture
def paired(tmp_path) -> Run:
    return write_run(tmp_path / "runs" / "paired", features="both")


def chosen(run: Run, **settings):
    return choose_scorer(run, Classifier.load(run.path, "cpu"), MEAN, device="cpu", **settings)


def faces(count: int = 4) -> torch.Tensor:
    chance = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=chance)


def test_the_latest_single_run_beside_it_that_knows_neutral_is_taken(paired):
    runs = paired.path.parent
    write_run(runs / "ignorant", features="target", classes=CLASSES)
    write_run(runs / "pair", features="both", classes=WITH_NEUTRAL)
    fit = write_run(runs / "fit", features="target", classes=WITH_NEUTRAL)
    scorer = chosen(paired)
    assert scorer.about.endswith("runs/fit")
    expected = Classifier.load(fit.path, "cpu").probabilities(faces())
    found = scorer(faces(), None)
    assert found.scores == pytest.approx(expected[:, 0])
    assert found.certain.tolist() == (expected.argmax(axis=1) == 0).tolist()
    assert scorer.confident


def test_the_single_classifier_inside_a_run_comes_first(paired):
    write_run(paired.path.parent / "fit", features="target", classes=WITH_NEUTRAL)
    write_run(paired.path / "stage1", features="target", classes=WITH_NEUTRAL)
    assert chosen(paired).about.endswith("paired/stage1")


def test_a_run_that_knows_neutral_itself_scores_against_the_average(tmp_path):
    run = write_run(tmp_path / "runs" / "paired", features="both", classes=WITH_NEUTRAL)
    classifier = Classifier.load(run.path, "cpu")
    scorer = chosen(run)
    assert "average neutral face" in scorer.about
    expected = classifier.probabilities(faces(), neutral_embeddings=torch.zeros(4, 576))
    assert scorer(faces(), classifier.embed(faces())).scores == pytest.approx(expected[:, 0], abs=1e-5)


def test_without_a_classifier_the_nearest_to_the_average_is_the_most_neutral(paired):
    scorer = chosen(paired)
    assert isinstance(scorer, DistanceScorer)
    found = scorer(None, torch.stack([torch.full((576,), value) for value in (3.0, -1.0, 2.0)]))
    assert np.argsort(found.scores).tolist() == [0, 2, 1]
    assert found.certain.all()
    assert not scorer.confident


def test_the_one_that_is_named_is_taken(paired, tmp_path):
    write_run(paired.path.parent / "fit", features="target", classes=WITH_NEUTRAL)
    made_model(features="target", classes=WITH_NEUTRAL).save_pretrained(tmp_path / "named")
    Preprocessing(32, face_crop={"size": 32, "margin": 0.15}).save(tmp_path / "named")
    assert isinstance(chosen(paired, wanted=str(tmp_path / "named")), ClassifierScorer)
    assert chosen(paired, wanted=str(tmp_path / "named")).about == str(tmp_path / "named")


@pytest.mark.parametrize(("features", "said"), [("both", "compares"), ("target", "has the classes anger")])
def test_one_that_cannot_tell_is_refused(paired, tmp_path, features, said):
    other = write_run(tmp_path / "other", features=features, classes=CLASSES)
    with pytest.raises(ModelError, match=said):
        chosen(paired, wanted=str(other.path))


def test_without_a_classifier_of_its_own_the_packaged_model_scores(paired, tmp_path, monkeypatch):
    packaged = packaged_stand_in(tmp_path / "installed" / "faces")
    monkeypatch.setattr(pretrained, "FOLDER", packaged)
    scorer = chosen(paired)
    assert scorer.about == "faces, the model that comes with fer"
    expected = Classifier.load(packaged, "cpu").probabilities(faces())
    place = Classifier.load(packaged, "cpu").classes.index("neutral")
    assert scorer(faces(), None).scores == pytest.approx(expected[:, place])
    # What a run has of its own goes before it, unless it is named.
    write_run(paired.path.parent / "fit", features="target", classes=WITH_NEUTRAL)
    assert chosen(paired).about.endswith("runs/fit")
    assert chosen(paired, wanted="faces").about == scorer.about


def test_crops_are_given_the_margin_that_the_scoring_model_was_trained_with():
    wide, tight = CropTemplate(96, 0.5), CropTemplate(96, 0.1)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    pixels = cv2.resize(pixels, (300, 300), interpolation=cv2.INTER_CUBIC)
    eyes = np.array([[110.0, 130.0], [190.0, 130.0]])
    crops = to_tensor([wide.align(pixels, eyes)])
    found = recropped(crops, {"margin": 0.5, "detector": "yunet"}, {"margin": 0.1})
    expected = to_tensor([tight.align(pixels, eyes)])
    assert (found.float() - expected.float()).abs().mean() < 4
    assert (crops.float() - expected.float()).abs().mean() > 20
    # Without alignment, or with the same margin, nothing is moved.
    for seen in ({"margin": 0.5, "detector": "none"}, {"margin": 0.1}, {}):
        assert recropped(crops, seen, {"margin": 0.1}) is crops
