import json

import pandas as pd
import pytest

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.analysis import NO_ANALYSIS, Analysis, AnalysisOptions, merge
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.options import Session
from fer_cli.runs.run import CrossValidation
from fer_cli.training.cross_validation import cross_validate
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_dataset

RECIPE = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, batch_size=8)


@pytest.fixture(scope="module")
def folds(tmp_path_factory) -> CrossValidation:
    folder = tmp_path_factory.mktemp("insight")
    return cross_validate(RECIPE, made_dataset(folder / "data" / "made", subjects=6), folder / "cv", device="cpu")


def test_a_run_is_looked_into_where_asked(folds):
    run = folds.runs[0]
    evaluation = evaluate(
        run, EvaluateOptions(analysis=AnalysisOptions(True, 2, True)), Session("cpu", command="fer evaluate this")
    )
    analysis = evaluation.analysis
    assert analysis.probes["embedding"].tolist() == ["emotion encoder", "difference vector"]
    assert set(analysis.probes["subjects"]) == {2}
    # Each made subject has one neutral face for all expressions.
    assert analysis.sharing == 2
    assert len(analysis.explanations) == 2
    assert {each.file_name for each in analysis.explanations} <= set(evaluation.predictions["file_name"])
    assert [each.embedding for each in analysis.maps] == ["emotion encoder", "difference vector"]
    metrics = json.loads((evaluation.path / "metrics.json").read_text())
    assert metrics["identity_probe"][0]["chance"] == 0.5
    page = (evaluation.path / "report.html").read_text()
    assert 'id="identity"' in page
    assert "of 2 of these people share a neutral face" in page
    assert "fer evaluate this" in page


def test_a_run_that_is_not_asked_has_a_report_all_the_same(folds):
    evaluation = evaluate(folds.runs[1], session=Session("cpu"))
    assert evaluation.analysis == NO_ANALYSIS
    page = (evaluation.path / "report.html").read_text()
    assert 'id="identity"' not in page
    assert f"fer evaluate {folds.runs[1].path}" in page


def test_a_test_that_was_insisted_on_is_stamped_on_its_report(folds):
    run = folds.runs[0]
    data = made_dataset(folds.path.parent / "data" / "again", subjects=6)
    evaluation = evaluate(run, EvaluateOptions(data.path), Session("cpu", allow_seen=True))
    page = (evaluation.path / "report.html").read_text()
    assert page.index('class="stamp"') < page.index("<h1>")


def test_folds_share_the_explanations_and_each_is_probed_in_its_own_embeddings(folds):
    evaluation = evaluate(folds, EvaluateOptions(analysis=AnalysisOptions(True, 4, True)), Session("cpu"))
    analysis = evaluation.analysis
    assert analysis.probes["fold"].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(analysis.explanations) == 4
    assert {each.fold for each in analysis.maps} == {0}
    mean = analysis.probes_over_folds().set_index("embedding").loc["emotion encoder"]
    own = analysis.probes[analysis.probes["embedding"] == "emotion encoder"]
    # Each fold has two people, so that the mean over people is that over folds.
    assert mean["identification"] == pytest.approx(own["identification"].mean())
    assert mean["low"] <= mean["identification"] <= mean["high"]
    assert mean["subjects"] == analysis.sharing == 6
    page = (evaluation.path / "report.html").read_text()
    assert "of 3 folds, each with its own encoders, the mean" in page
    for run in folds.runs:
        assert (run.path / "evaluation" / "report.html").is_file()


@pytest.mark.parametrize(("count", "shares"), [(0, [0, 0, 0]), (2, [1, 1, 0]), (7, [3, 2, 2])])
def test_every_explanation_asked_for_is_of_one_fold(count, shares):
    asked = [AnalysisOptions(explanations=count).of_fold(place, 3) for place in range(3)]
    assert [each.explanations for each in asked] == shares


def test_insights_of_nothing_are_none():
    assert merge([Analysis(), Analysis()]).to_dict() == {}


def test_people_with_too_few_pictures_are_told_before_anything_is_written(folds, tmp_path):
    run = folds.runs[2]
    data = made_dataset(tmp_path / "data" / "few", corpus="few")
    metadata = pd.read_csv(data.path / "metadata.csv", dtype="string")
    first = ["subject", "fold", "neutral_file_name"]
    metadata.loc[metadata["label"] == "anger", first] = ["P01", "0", "images/P01/neutral.png"]
    metadata["sequence"] = metadata["label"].where(metadata["subject"] == "P01", "one")
    metadata.to_csv(data.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="identity probe"):
        evaluate(run, EvaluateOptions(data.path, out=tmp_path / "out", analysis=AnalysisOptions(True)), Session("cpu"))
    assert not (tmp_path / "out").exists()


def test_the_interval_of_identification_is_a_bootstrap_over_people():
    # Of 100 people half are always named and half never: the mean of 100 draws of 0 or 1 is 0.5 ± 1.96 · 0.05.
    row = {"embedding": "emotion encoder", "chance": 0.02, "auc": 0.5, "eer": 0.5, "subjects": 50, "pictures": 100}
    probes = pd.DataFrame([{"fold": fold, "named": (fold,) * 50, **row} for fold in (0.0, 1.0)])
    (found,) = Analysis(probes).probes_over_folds().to_dict(orient="records")
    assert found["identification"] == 0.5
    assert (found["low"], found["high"]) == pytest.approx((0.402, 0.598), abs=0.02)
    assert (found["subjects"], found["pictures"]) == (100, 200)


def test_a_report_of_somebody_elses_is_not_replaced(folds, tmp_path):
    (tmp_path / "report.html").write_text("my thesis")
    with pytest.raises(UsageError, match="not an evaluation's"):
        evaluate(folds.runs[0], EvaluateOptions(out=tmp_path), Session("cpu"))
    assert (tmp_path / "report.html").read_text() == "my thesis"
