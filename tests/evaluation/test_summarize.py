import pytest

from fer_cli.errors import RunError
from fer_cli.evaluation.evaluate import summarize
from fer_cli.evaluation.results import Provenance
from tests.evaluation.predictions import CLASSES, random_table, table


def summary(rows, tmp_path, **given):
    origin = Provenance("first", "Made; test fold 0", protocol=None, dataset=None, runs=())
    return summarize(rows, CLASSES, origin, path=tmp_path, notes=("first",), **given)


def test_no_predictions_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"no predictions to evaluate \(Made; test fold 0\)"):
        summary(random_table(0).iloc[:0], tmp_path)


def test_it_has_metrics_by_frame_by_sequence_and_by_class(tmp_path):
    evaluation = summary(random_table(0), tmp_path)
    assert set(evaluation.by_sequence) == {"average", "vote"}
    assert list(evaluation.per_class.index) == list(CLASSES)
    assert evaluation.groups is evaluation.gaps is None
    assert evaluation.notes == ("first",)


def test_how_far_the_intervals_can_be_trusted_is_noted(tmp_path):
    perfect = table([(f"P{place}", None, "anger" if place % 2 else "fear", _sure(place % 2)) for place in range(10)])
    notes = summary(perfect, tmp_path).notes
    assert any("30% of people" in note for note in notes)
    assert any("No sample shows surprise" in note for note in notes)
    assert any("One subject only" in note for note in summary(random_table(0, subjects=1), tmp_path).notes)
    nobody = random_table(0).assign(subject=None)
    assert any("Of 108 samples the subject is not known" in note for note in summary(nobody, tmp_path).notes)


def test_every_fold_has_its_own_temperature_and_all_must_have_one(tmp_path):
    rows = random_table(0)
    both = summary(rows, tmp_path, temperatures=[(1.0, 10, 54), (4.0, 20, 54)]).calibration
    assert both.temperature == pytest.approx(2)
    assert both.fitted_on == 30
    one = summary(rows.iloc[:54], tmp_path, temperatures=[(1.0, 10, 54)]).calibration
    other = summary(rows.iloc[54:], tmp_path, temperatures=[(4.0, 20, 54)]).calibration
    assert both.nll_after == pytest.approx((one.nll_after + other.nll_after) / 2)
    assert summary(rows, tmp_path, temperatures=[(1.0, 10, 54), (None, 0, 54)]).calibration.temperature is None


def _sure(place: int) -> tuple[float, float, float]:
    return (0.9, 0.1, 0) if place else (0.1, 0.9, 0)
