import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.evaluate import EvaluateOptions, evaluate
from fer_cli.evaluation.inference import run_inference
from fer_cli.evaluation.metrics import LabelledPredictions, compute_metrics
from fer_cli.options import Session
from fer_cli.runs.run import CrossValidation


def test_each_sample_is_tested_once_by_the_run_that_has_not_seen_it(home, made):
    cross_validation = CrossValidation.open(home / "runs" / "cv")
    evaluation = evaluate(cross_validation, session=Session("cpu"))
    samples = made.samples(paired=True)
    predictions = evaluation.predictions
    assert sorted(predictions["file_name"]) == sorted(samples["file_name"])
    assert evaluation.confusion.to_numpy().sum() == len(samples) == 27
    for run in cross_validation.runs:
        own = predictions[predictions["fold"] == run.fold]
        assert set(own["subject"]).isdisjoint(run.seen["made"])
        expected = run_inference(run, session=Session("cpu")).predictions
        assert own["p_anger"].to_numpy() == pytest.approx(expected["p_anger"].to_numpy())


def test_the_pool_is_evaluated_as_one_and_the_folds_stand_beside(home):
    cross_validation = CrossValidation.open(home / "runs" / "cv")
    evaluation = evaluate(cross_validation, session=Session("cpu"))
    whole, per_class = compute_metrics(LabelledPredictions.of(evaluation.predictions, evaluation.classes))
    pd.testing.assert_frame_equal(evaluation.metrics, whole)
    pd.testing.assert_frame_equal(evaluation.per_class, per_class)
    by_fold = evaluation.predictions.groupby("fold").apply(lambda rows: (rows["label"] == rows["predicted"]).mean())
    assert evaluation.folds["accuracy"].tolist() == pytest.approx(by_fold.tolist())
    temperatures = [run_inference(run, session=Session("cpu")).temperature for run in cross_validation.runs]
    assert evaluation.folds["temperature"].tolist() == pytest.approx(temperatures)
    assert evaluation.calibration.temperature == pytest.approx(np.exp(np.mean(np.log(temperatures))))
    metrics = json.loads((home / "runs" / "cv" / "evaluation" / "metrics.json").read_text())
    assert metrics["cross_validation"] == "cv"
    assert sum(map(sum, metrics["confusion"])) == 27
    assert "every fold tested once, pooled" in metrics["about"]
    assert (home / "runs" / "cv" / "fold1" / "evaluation" / "metrics.json").is_file()


def test_a_fold_of_one_class_has_its_part_in_the_whole(home, made):
    rows = pd.read_csv(made.path / "metadata.csv", dtype="string")
    rows[(rows["fold"] != "0") | rows["label"].isin(["neutral", "anger"])].to_csv(
        made.path / "metadata.csv", index=False
    )
    evaluation = evaluate(CrossValidation.open(home / "runs" / "cv"), session=Session("cpu"))
    assert evaluation.folds["n"].tolist() == [3, 9, 9]
    assert not (home / "runs" / "cv" / "fold0" / "evaluation").exists()


def test_all_of_a_cross_validation_would_test_what_is_known_and_is_refused(home):
    with pytest.raises(UsageError, match="tested 3 times"):
        evaluate(CrossValidation.open(home / "runs" / "cv"), EvaluateOptions(split="all"), Session("cpu"))


def test_its_validation_folds_are_known_and_stamped_where_insisted_on(home):
    cross_validation = CrossValidation.open(home / "runs" / "cv")
    with pytest.raises(RunError, match="trained on 3 of the made subjects"):
        evaluate(cross_validation, EvaluateOptions(split="val"), Session("cpu"))
    evaluation = evaluate(cross_validation, EvaluateOptions(split="val"), Session("cpu", allow_seen=True))
    assert evaluation.provenance.about.endswith("TESTED ON 9 SUBJECTS THAT THE MODEL WAS TRAINED ON")
    assert evaluation.path == home / "runs" / "cv" / "evaluation" / "val"


def test_a_cross_validation_that_lacks_a_fold_is_told(home):
    shutil.rmtree(home / "runs" / "cv" / "fold1")
    with pytest.raises(RunError, match=r"no folder .*fold1"):
        CrossValidation.open(home / "runs" / "cv")
