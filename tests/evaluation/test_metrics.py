import numpy as np
import pytest
from sklearn import metrics

from fer_cli.evaluation.bootstrap import REPETITIONS, SEED
from fer_cli.evaluation.calibration import calibration, tempered
from fer_cli.evaluation.metrics import METRICS, LabelledPredictions, compute_metrics
from tests.evaluation.predictions import CLASSES, random_table, table

SHARES = [f"p_{name}" for name in CLASSES]


def by_scikit_learn(rows) -> dict[str, float]:
    """Every measure of a table of predictions that shows all classes."""
    truth, predicted = rows["label"], rows["predicted"]
    confidence, right = rows["confidence"].to_numpy(), (truth == predicted).to_numpy()
    place = np.digitize(confidence, np.arange(1, 15) / 15, right=True)
    apart = [abs(right[place == each].sum() - confidence[place == each].sum()) for each in range(15)]
    return {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "unweighted_average_recall": metrics.balanced_accuracy_score(truth, predicted),
        "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
        "weighted_f1": metrics.f1_score(truth, predicted, average="weighted"),
        "kappa": metrics.cohen_kappa_score(truth, predicted),
        "roc_auc": metrics.roc_auc_score(truth, rows[SHARES], multi_class="ovr", average="macro", labels=list(CLASSES)),
        "ece": sum(apart) / len(rows),
    }


def again(rows, draw):
    """The rows of the subjects that a draw took, as often as it took them."""
    subjects = rows["subject"].drop_duplicates().tolist()
    times = rows["subject"].map(dict(zip(subjects, draw, strict=True))).astype(int)
    return rows.loc[rows.index.repeat(times)]


def test_every_measure_is_scikit_learns():
    rows = random_table(0)
    found, _ = compute_metrics(LabelledPredictions.of(rows, CLASSES))
    assert list(found.index) == list(METRICS)
    assert found["value"].to_dict() == pytest.approx(by_scikit_learn(rows))


def test_every_measure_of_a_draw_is_that_of_its_subjects_rows():
    rows = random_table(1)
    draws = np.random.default_rng(SEED).multinomial(12, np.full(12, 1 / 12), size=25)
    figures = LabelledPredictions.of(rows, CLASSES).values(draws)
    for place, draw in enumerate(draws):
        found = {name: figures[name][place] for name in METRICS}
        assert found == pytest.approx(by_scikit_learn(again(rows, draw)))


def test_the_interval_is_of_the_seeded_draws_of_subjects():
    rows = random_table(2)
    draws = np.random.default_rng(SEED).multinomial(12, np.full(12, 1 / 12), size=REPETITIONS)
    by_subject = (rows["label"] == rows["predicted"]).groupby(rows["subject"]).mean().to_numpy()
    expected = np.quantile(draws @ by_subject / 12, [0.025, 0.975])
    found, _ = compute_metrics(LabelledPredictions.of(rows, CLASSES))
    assert found.loc["accuracy", ["low", "high"]].tolist() == pytest.approx(expected.tolist())


def test_frames_of_one_person_are_not_as_many_witnesses():
    rows = random_table(3, subjects=20, frames=1)
    copied = rows.loc[rows.index.repeat(5)].reset_index(drop=True)
    once, _ = compute_metrics(LabelledPredictions.of(rows, CLASSES))
    five_times, _ = compute_metrics(LabelledPredictions.of(copied, CLASSES))
    assert five_times.to_numpy() == pytest.approx(once.to_numpy())
    alone, _ = compute_metrics(LabelledPredictions.of(copied.assign(subject=None), CLASSES))
    wide, narrow = (each.loc["accuracy", "high"] - each.loc["accuracy", "low"] for each in (once, alone))
    assert narrow < 0.6 * wide


def test_the_interval_of_a_calibration_error_holds_it_though_resampling_adds_to_it():
    generator = np.random.default_rng(0)
    honest = generator.dirichlet(np.ones(3), 300)
    labels = [CLASSES[generator.choice(3, p=shares)] for shares in honest]
    rows = table([(f"P{place}", None, *each) for place, each in enumerate(zip(labels, honest, strict=True))])
    answers = LabelledPredictions.of(rows, CLASSES)
    value, low, high = compute_metrics(answers)[0].loc["ece"]
    assert low < value < high
    draws = np.random.default_rng(SEED).multinomial(300, np.full(300, 1 / 300), size=REPETITIONS)
    again = answers.values(draws)["ece"]
    assert again.mean() > value + 0.01
    expected = np.quantile(again - again.mean() + value, [0.025, 0.975])
    assert [low, high] == pytest.approx(list(np.maximum(expected, 0)))


def test_intervals_hold_their_values():
    for seed in range(5):
        found, per_class = compute_metrics(LabelledPredictions.of(random_table(seed, skill=3), CLASSES))
        assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
        for name in ("precision", "recall", "f1"):
            assert (per_class[f"{name}_low"] <= per_class[name]).all()
            assert (per_class[name] <= per_class[f"{name}_high"]).all()


def test_of_one_subject_there_are_values_and_no_intervals():
    rows = random_table(0, subjects=1, skill=0)
    found, per_class = compute_metrics(LabelledPredictions.of(rows, CLASSES))
    assert found["value"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)
    assert per_class.filter(regex="low|high").isna().all(axis=None)


def test_a_class_that_is_nowhere_has_no_figures():
    rows = table([("A", None, "anger", (0.8, 0.2, 0)), ("B", None, "fear", (0.4, 0.6, 0))])
    found, per_class = compute_metrics(LabelledPredictions.of(rows, CLASSES))
    assert found["value"].to_dict() == pytest.approx(
        {**dict.fromkeys(list(METRICS)[:5], 1.0), "roc_auc": 1.0, "ece": (0.2 + 0.4) / 2}
    )
    assert per_class.loc["surprise"].drop("support").isna().all()
    assert per_class["support"].tolist() == [1, 1, 0]


def test_calibration_before_and_after_a_temperature():
    rows = random_table(4)
    answers = LabelledPredictions.of(rows, CLASSES)
    after = tempered(answers.probabilities, 2)
    found = calibration(answers, after, temperature=2.0, fitted_on=9)
    assert found.ece == pytest.approx(by_scikit_learn(rows)["ece"])
    assert found.nll == pytest.approx(metrics.log_loss(rows["label"], rows[SHARES], labels=list(CLASSES)))
    assert found.nll_after == pytest.approx(metrics.log_loss(rows["label"], after, labels=list(CLASSES)))
    assert found.ece_after == pytest.approx(by_scikit_learn(rows.assign(confidence=after.max(axis=1)))["ece"])
    assert found.bins["count"].sum() == len(rows)
    whole, _ = compute_metrics(answers)
    assert found.values.loc["ece"].tolist() == pytest.approx(whole.loc["ece"].tolist())
    assert calibration(answers).ece_after is None


def test_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="not among"):
        LabelledPredictions.of(random_table(0), CLASSES[:2])
