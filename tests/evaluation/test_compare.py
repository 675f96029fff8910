import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.errors import RunError, UsageError
from fer_cli.evaluation.compare import compare, refuse_overwriting, write_comparison
from tests.evaluation.predictions import CLASSES, random_table


def evaluated(folder, rows, **card):
    """A run's folder with an evaluation of ``rows`` in it."""
    inside = folder / "evaluation"
    inside.mkdir(parents=True)
    rows.to_csv(inside / "predictions.csv", index=False)
    facts = {"run": folder.name, "about": "Made; test fold 0", "corpus": "made", "fingerprint": "a"}
    facts |= {"classes": list(CLASSES), "insisted_on": [], **card}
    (inside / "metrics.json").write_text(json.dumps(facts))
    return folder


def better(rows, share: float = 1.0):
    """The rows with a ``share`` of their mistakes mended."""
    wrong = rows.index[rows["label"] != rows["predicted"]]
    mended = wrong[: round(share * len(wrong))]
    return rows.assign(predicted=rows["predicted"].where(~rows.index.isin(mended), rows["label"]))


@pytest.fixture
def rows():
    return random_table(0, subjects=20)


@pytest.fixture
def two(tmp_path, rows):
    return [evaluated(tmp_path / "first", rows), evaluated(tmp_path / "second", better(rows))]


def test_two_runs_that_differ_are_said_to(two, rows):
    comparison = compare(two)
    assert comparison.differing() == [("first", "second")]
    assert (comparison.samples, comparison.subjects, comparison.notes) == (180, 20, ())
    row = comparison.table.set_index("measure").loc["accuracy"]
    wrong = (rows["label"] != rows["predicted"]).sum()
    assert row["difference"] == pytest.approx(wrong / 180)
    assert (row["only_first"], row["only_second"]) == (0, wrong)
    assert row["low"] > 0
    recalls = comparison.table[comparison.table["measure"].str.startswith("recall of ")]
    assert recalls["second_value"].tolist() == [1, 1, 1]


def test_two_runs_that_do_not_are_not(tmp_path, rows):
    assert compare([evaluated(tmp_path / name, rows) for name in "ab"]).differing() == []


def test_of_more_than_two_every_pair_is_compared_and_corrected(two, tmp_path, rows):
    third = evaluated(tmp_path / "third", better(rows, 0.05))
    comparison = compare([*two, third])
    accuracy = comparison.table[comparison.table["measure"] == "accuracy"]
    pairs = accuracy[["first", "second"]].values.tolist()
    assert pairs == [["first", "second"], ["first", "third"], ["second", "third"]]
    assert (accuracy["p_holm"] >= accuracy["p"]).all()
    assert accuracy["p_holm"].max() == pytest.approx(accuracy["p"].max())
    assert accuracy["p_holm"].min() == pytest.approx(3 * accuracy["p"].min())
    assert comparison.differing() == [("first", "second"), ("second", "third")]


def test_only_samples_that_all_were_tested_on_count(tmp_path, rows):
    one = evaluated(tmp_path / "one", rows.iloc[9:])
    other = evaluated(tmp_path / "other", rows.iloc[:-18].sample(frac=1, random_state=0))
    comparison = compare([one, other])
    assert comparison.samples == 180 - 9 - 18
    assert comparison.table.loc[0, "difference"] == 0
    assert comparison.notes[0].endswith("153 were tested by all; missing: one 9, other 18.")


def test_samples_of_another_preparation_are_matched_by_name_and_that_is_told(tmp_path, rows):
    one, other = evaluated(tmp_path / "one", rows), evaluated(tmp_path / "other", rows, fingerprint="b")
    assert any("different preparations" in note for note in compare([one, other]).notes)


def test_other_class_sets_are_told(tmp_path, rows):
    six = evaluated(tmp_path / "more", rows, classes=[*CLASSES, "happiness"])
    (note,) = compare([evaluated(tmp_path / "fewer", rows), six]).notes
    assert "beyond anger, fear, surprise, fewer knows no more; more knows happiness" in note


def test_a_test_on_what_was_trained_on_is_told_again(tmp_path, rows):
    known = evaluated(tmp_path / "known", rows, insisted_on=["P01"])
    assert any(
        "known WAS TESTED ON WHAT IT WAS TRAINED ON (P01)" in note
        for note in compare([known, *_other(tmp_path, rows)]).notes
    )


def test_too_few_people_for_any_difference_are_told(tmp_path, rows):
    few = rows[rows["subject"].isin(["P00", "P01", "P02", "P03"])]
    comparison = compare([evaluated(tmp_path / "a", few), evaluated(tmp_path / "b", better(few))])
    assert comparison.differing() == []
    assert any("too few people" in note for note in comparison.notes)


def test_rows_of_nobody_known_are_each_another_person(tmp_path, rows):
    nobody = rows.assign(subject=None)
    comparison = compare([evaluated(tmp_path / "a", nobody), evaluated(tmp_path / "b", better(nobody))])
    assert comparison.subjects == 0
    assert any("Of 180 samples the subject is not known" in note for note in comparison.notes)


def test_runs_of_one_name_are_called_by_their_paths(tmp_path, rows):
    runs = [evaluated(tmp_path / place / "fold0", rows) for place in "ab"]
    assert compare(runs).runs == tuple(map(str, runs))


@pytest.mark.parametrize(
    ("column", "value", "said"), [("label", "fear", "the label of"), ("subject", "P99", "the subject of")]
)
def test_who_disagrees_on_the_data_is_refused(tmp_path, rows, column, value, said):
    changed = rows.copy()
    changed.loc[0, column] = value
    with pytest.raises(RunError, match=rf"{said} 1 of 180 samples, for example images/0\.png"):
        compare([evaluated(tmp_path / "a", rows), evaluated(tmp_path / "b", changed)])


def test_what_cannot_be_compared_is_refused(tmp_path, rows, two):
    half = len(rows) // 2
    with pytest.raises(RunError, match="no test sample in common"):
        compare([evaluated(tmp_path / "a", rows.iloc[:half]), evaluated(tmp_path / "b", rows.iloc[half:])])
    with pytest.raises(RunError, match="different corpora: made, other"):
        compare([two[0], evaluated(tmp_path / "c", rows, corpus="other")])
    for paths in (two[:1], [two[0], two[0]]):
        with pytest.raises(UsageError, match="two or more different runs"):
            compare(paths)


def test_a_run_that_has_not_been_evaluated_says_what_to_type(tmp_path, two):
    (tmp_path / "fresh").mkdir()
    with pytest.raises(RunError, match="has not been evaluated") as refused:
        compare([two[0], tmp_path / "fresh"])
    assert refused.value.hint == f"Type fer evaluate {tmp_path / 'fresh'} first."
    other = tmp_path / "fresh" / "evaluation" / "other"
    other.mkdir(parents=True)
    (other / "predictions.csv").touch()
    with pytest.raises(RunError, match="has not been evaluated") as refused:
        compare([two[0], tmp_path / "fresh"])
    assert str(other) in refused.value.hint
    with pytest.raises(RunError, match="no folder"):
        compare([two[0], tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda inside: (inside / "metrics.json").unlink(), "not what fer wrote"),
        (lambda inside: (inside / "metrics.json").write_text("[]"), "not what fer wrote"),
        (lambda inside: _cut(inside, lambda table: table.iloc[:0]), "has no predictions"),
        (lambda inside: _cut(inside, lambda table: table.drop(columns="subject")), "not what fer wrote"),
        (lambda inside: _cut(inside, lambda table: table.assign(predicted="joy")), "mean nothing here: joy"),
        (lambda inside: _cut(inside, lambda table: pd.concat([table, table])), "the same one twice"),
    ],
)
def test_predictions_that_are_none_are_refused(two, harm, said):
    harm(two[1] / "evaluation")
    with pytest.raises(RunError, match=said):
        compare(two)


def test_the_folder_of_the_predictions_itself_will_do(two):
    assert compare([path / "evaluation" for path in two]).runs == ("first", "second")


def test_what_it_writes_agrees(two, tmp_path):
    comparison, out = compare(two), tmp_path / "comparison"
    write_comparison(comparison, out)
    table = pd.read_csv(out / "comparison.csv")
    assert np.allclose(table["difference"], comparison.table["difference"], atol=1e-5)
    stored = json.loads((out / "comparison.json").read_text())
    assert stored["differing"] == [["first", "second"]]
    assert stored["rows"][0]["p"] == comparison.table.loc[0, "p"]
    assert stored["rows"][-1]["p"] is None
    with Image.open(out / "comparison.png") as picture:
        assert min(picture.size) > 300
    with pytest.raises(UsageError, match="there already"):
        refuse_overwriting(out)


def _other(tmp_path, rows):
    return [evaluated(tmp_path / "other", rows)]


def _cut(inside, change):
    path = inside / "predictions.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


def test_variants_that_were_trained_together_are_compared_by_their_folder(tmp_path, rows):
    for name in ("target", "both"):
        evaluated(tmp_path / "all" / name, rows)
    (tmp_path / "all" / "comparison.json").write_text(json.dumps({"variants": ["target", "../all/both"]}))
    assert compare([tmp_path / "all"]).runs == ("target", "both")
    with pytest.raises(UsageError, match="record of a training"):
        refuse_overwriting(tmp_path / "all", overwrite=True)


def unbeaten(paths) -> list[str]:
    return [note for note in compare(paths).notes if "does not beat" in note]


def test_a_run_that_does_not_beat_a_baseline_is_said_not_to(tmp_path, rows):
    tables = {"hog": better(rows, 0.5), "net": better(rows, 0.52), "best": better(rows), "worst": rows}
    models = {"hog": "baseline", "net": "difference", "best": "difference", "worst": "vit-se"}
    hog, net, best, worst = (evaluated(tmp_path / name, tables[name], model=models[name]) for name in tables)
    value = {name: (table["label"] == table["predicted"]).mean() for name, table in tables.items()}
    table = compare([hog, net]).table
    p = table.loc[table["measure"] == "accuracy", "p"].item()
    assert p > 0.05
    assert value["net"] > value["hog"]
    words = f"accuracy {value['net']:.1%} against {value['hog']:.1%}, p {p:.2g}."
    note = f"net does not beat HOG and a linear SVM (hog): {words}"
    assert unbeaten([hog, net]) == unbeaten([net, hog]) == [note]
    # One that is shown to be better is not said not to; one that is shown to be worse is.
    assert unbeaten([hog, best]) == []
    [note] = unbeaten([best, hog, worst])
    assert note.startswith("worst does not beat HOG and a linear SVM (hog)")
    # Neither are two baselines, nor runs without one, nor evaluations of earlier versions.
    assert unbeaten([hog, evaluated(tmp_path / "hog2", tables["hog"], model="baseline")]) == []
    assert unbeaten([net, worst, evaluated(tmp_path / "before", rows)]) == []


def test_what_beats_a_baseline_is_decided_after_the_correction_for_all_pairs(tmp_path, rows):
    runs = [evaluated(tmp_path / "hog", rows, model="baseline")]
    shares = (0.04, 0.4, 0.45, 1.0)
    runs += [evaluated(tmp_path / f"net{share}", better(rows, share), model="vit-se") for share in shares]
    table = compare(runs).table
    accuracy = table[(table["measure"] == "accuracy") & (table["first"] == "hog")]
    corrected = accuracy.loc[accuracy["p_holm"] > 0.05, "second"].tolist()
    assert 0 < (accuracy["p"] > 0.05).sum() < len(corrected) < len(accuracy)
    assert [note.split()[0] for note in unbeaten(runs)] == corrected
