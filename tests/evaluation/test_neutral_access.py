"""What a paired model compares a face with: the labelled neutral picture, one that was found, or the average."""

import json

import numpy as np
import pytest

from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.neutral import of_run
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.evaluation.inference import run_inference
from fer_cli.models import Classifier
from fer_cli.options import Session
from fer_cli.runs.run import Run
from tests.made import made_model

CPU = Session("cpu")


def configured(run: Run, **changes) -> Run:
    """The run with ``changes`` in its model's configuration."""
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, **changes}))
    return Run.open(run.path)


def expected(run: Run, made, names, neutrals=None) -> np.ndarray:
    """The probabilities of the named crops against those of ``neutrals``, or against the run's average."""
    classifier, crops = Classifier.load(run.path, "cpu"), Crops(made.path)
    if neutrals is not None:
        return classifier.probabilities(crops.batch(names), crops.batch(neutrals))
    mean = of_run(run, classifier.model.encoder, classifier.preprocessing, classifier.device).mean
    return classifier.probabilities(crops.batch(names), neutral_embeddings=mean.expand(len(names), -1))


@pytest.mark.parametrize("settings", [{"tune_encoder": False}, {"tune_encoder": True}, {"tta": "flip"}], ids=str)
def test_every_access_is_on_the_same_faces_and_says_so(run, made, settings):
    run = configured(run, **settings)
    given = run_inference(run, session=CPU)
    names = given.predictions["file_name"].tolist()
    pictures = {name: names[place - 1] for place, name in enumerate(names)}
    mean, found = (run_inference(run, neutral=neutral, session=CPU) for neutral in ("mean", pictures))
    for each, access in ((given, "given"), (mean, "mean"), (found, "found")):
        assert each.predictions["file_name"].tolist() == names
        assert each.neutral_access == access
        assert each.about.endswith(f"; neutral {access}")
    labelled = made.metadata.set_index("file_name")["neutral_file_name"][names].tolist()
    assert given.probabilities == pytest.approx(expected(run, made, names, labelled), abs=1e-5)
    assert mean.probabilities == pytest.approx(expected(run, made, names), abs=1e-5)
    assert found.probabilities == pytest.approx(expected(run, made, names, list(pictures.values())), abs=1e-5)
    assert not np.allclose(given.probabilities, mean.probabilities, atol=1e-3)
    assert not np.allclose(given.probabilities, found.probabilities, atol=1e-3)


def test_a_face_for_which_none_was_found_is_compared_with_the_average(run, made):
    rows = made.split(0, paired=True)["test"]
    names = rows["file_name"].tolist()
    found = run_inference(run, neutral={names[0]: names[1]}, session=CPU)
    assert found.probabilities[:1] == pytest.approx(expected(run, made, names[:1], names[1:2]), abs=1e-5)
    assert found.probabilities[1:] == pytest.approx(expected(run, made, names[1:]), abs=1e-5)
    assert found.temperature is None
    assert any("neutral pictures" in note for note in found.notes)
    nothing = run_inference(run, neutral={}, session=CPU)
    assert nothing.probabilities == pytest.approx(run_inference(run, neutral="mean", session=CPU).probabilities)


def test_the_labelled_neutral_pictures_have_no_part_in_what_was_found(run, made):
    """Also where the model averages several labelled ones."""
    run = configured(run, neutrals=2, tune_encoder=False)
    names = made.split(0, paired=True)["test"]["file_name"].tolist()
    pictures = {name: names[place - 1] for place, name in enumerate(names)}
    found = run_inference(run, neutral=pictures, session=CPU)
    assert found.probabilities == pytest.approx(expected(run, made, names, list(pictures.values())), abs=1e-5)


def test_a_model_of_single_pictures_has_no_access_whatever_is_asked(run):
    made_model(features="target").save_pretrained(run.path)
    first, second = (run_inference(run, neutral=neutral, session=CPU) for neutral in ("given", "mean"))
    assert first.neutral_access == second.neutral_access == "none"
    assert np.array_equal(first.probabilities, second.probabilities)


def test_without_calibration_no_temperature_is_fitted_and_the_rest_is_the_same(run):
    plain, fitted = (run_inference(run, calibrated=calibrated, session=CPU) for calibrated in (False, True))
    assert plain.temperature is None
    assert fitted.temperature is not None
    assert plain.predictions.equals(fitted.predictions)


def test_an_evaluation_is_stored_with_its_access_apart_from_the_usual_one(run):
    usual = evaluate(run, session=CPU)
    mean = evaluate(run, EvaluateOptions(neutral="mean"), CPU)
    assert mean.path == usual.path / "neutral-mean"
    cards = [json.loads((each.path / "metrics.json").read_text()) for each in (usual, mean)]
    assert [card["neutral_access"] for card in cards] == ["given", "mean"]
    assert [card["about"].rpartition("; ")[2] for card in cards] == ["neutral given", "neutral mean"]
