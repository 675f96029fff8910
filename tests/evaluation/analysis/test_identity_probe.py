import numpy as np
import pytest

from fer_cli.errors import DatasetError
from fer_cli.evaluation.analysis.embeddings import probe_identity

SUBJECTS, SEQUENCES, FRAMES = 20, 6, 3


@pytest.fixture(scope="module")
def who() -> tuple[np.ndarray, np.ndarray]:
    """The subjects and sequences of 360 pictures: three of each of six sequences of each of twenty people."""
    subjects = np.repeat([f"P{number}" for number in range(SUBJECTS)], SEQUENCES * FRAMES)
    sequences = np.tile(np.repeat([f"{number:03d}" for number in range(SEQUENCES)], FRAMES), SUBJECTS)
    return subjects, sequences


def one_hot(subjects, noise: float) -> np.ndarray:
    names, index = np.unique(subjects, return_inverse=True)
    return np.eye(len(names))[index] + np.random.default_rng(0).normal(scale=noise, size=(len(index), len(names)))


def test_an_embedding_that_is_the_person_with_noise_is_named_and_verified(who):
    probe = probe_identity(one_hot(who[0], 0.15), *who)
    assert probe.identification >= 0.95
    assert probe.auc >= 0.95
    assert probe.eer <= 0.05
    assert probe.chance == 1 / SUBJECTS
    assert (probe.subjects, probe.pictures) == (SUBJECTS, 360)


def test_shuffled_subjects_are_at_chance(who):
    # A guess among twenty is right for 18 of 360 pictures, ± 4.1 (binomial); four deviations of the mean of ten are
    # 0.0145.
    embeddings = one_hot(who[0], 0.15)
    probes = [
        probe_identity(embeddings, np.random.default_rng(seed).permutation(who[0]), who[1], seed=seed)
        for seed in range(10)
    ]
    assert np.mean([probe.identification for probe in probes]) == pytest.approx(1 / SUBJECTS, abs=0.0145)
    assert np.mean([probe.auc for probe in probes]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([probe.eer for probe in probes]) == pytest.approx(0.5, abs=0.01)


def test_embeddings_that_hold_nothing_are_at_chance(who):
    nothing = np.random.default_rng(1).normal(size=(360, 8))
    probe = probe_identity(nothing, *who)
    assert probe.identification == pytest.approx(1 / SUBJECTS, abs=0.046)
    assert probe.auc == pytest.approx(0.5, abs=0.03)


def test_what_only_frames_of_one_sequence_share_names_nobody(who):
    # Were frames of one sequence on both sides, a nearest neighbour would name everyone.
    subjects, sequences = who
    each = [f"{subject}/{sequence}" for subject, sequence in zip(subjects, sequences, strict=True)]
    assert probe_identity(one_hot(each, 0.01), *who).identification < 3 / SUBJECTS


def test_auc_and_eer_are_those_worked_out_by_hand():
    # On a line, standardised by symmetry: A at 1, 2; B at -1, -2. Cosines are 1 within a person and -1 between them.
    probe = probe_identity([[1.0], [2.0], [-1.0], [-2.0]], ["A", "A", "B", "B"], [None] * 4)
    assert (probe.auc, probe.eer, probe.same, probe.different) == (1.0, 0.0, 2, 4)
    # With A at 1, -1 and B at 1, -1, pairs of one person have cosine -1; of the four others two have 1, two -1.
    # ROC points (accepted strangers, detected): (0, 0), (1/2, 0), (1, 1): AUC 1/4, and equal errors at 2/3.
    probe = probe_identity([[1.0], [-1.0], [1.0], [-1.0]], ["A", "A", "B", "B"], [None] * 4)
    assert probe.auc == pytest.approx(0.25)
    assert probe.eer == pytest.approx(2 / 3)


def test_the_expression_does_not_tell_people_apart(who):
    # The embedding is the expression alone, one a sequence: pairs of one person never share it, others often do.
    subjects, sequences = who
    embeddings = one_hot(sequences, 0.05)
    assert probe_identity(embeddings, subjects, sequences).auc < 0.45
    assert probe_identity(embeddings, subjects, sequences, sequences).auc == pytest.approx(0.5, abs=0.02)


def test_identification_is_the_mean_over_people_however_many_pictures_each_has():
    # P0 has eight pictures, all of one place; P1 and P2 four each, of places that say nothing of whose they are.
    embeddings = np.array([[0.0, 9.0]] * 8 + [[1.0, 0.0], [-1.0, 0.0]] * 4)
    probe = probe_identity(embeddings, ["P0"] * 8 + ["P1", "P2", "P2", "P1"] * 2, [None] * 16)
    assert probe.named[0] == 1
    assert probe.identification == pytest.approx(np.mean(probe.named))
    assert len(probe.named) == probe.subjects == 3


def test_it_is_repeated_by_its_seed(who):
    embeddings = one_hot(who[0], 0.4)
    assert probe_identity(embeddings, *who, seed=3) == probe_identity(embeddings, *who, seed=3)


def test_of_many_pictures_some_are_drawn(who, monkeypatch):
    monkeypatch.setattr("fer_cli.evaluation.analysis.embeddings.MOST_PICTURES", 200)
    probe = probe_identity(one_hot(who[0], 0.1), *who)
    assert (probe.subjects, probe.pictures) == (SUBJECTS, 200)
    assert probe.identification >= 0.95


def test_people_with_one_sequence_and_nobody_take_no_part(who):
    subjects, sequences = who
    embeddings = one_hot(subjects, 0.1)
    more = np.vstack([embeddings, embeddings[:2]])
    probe = probe_identity(more, [*subjects, "alone", None], [*sequences, "001", None])
    assert (probe.subjects, probe.pictures) == (SUBJECTS, 360)


def test_too_few_people_are_told():
    with pytest.raises(DatasetError, match="fewer than two"):
        probe_identity(np.eye(4), ["A", "A", "B", "C"], ["1", "2", "1", "1"])


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="finite"):
        probe_identity([[np.nan], [1.0]], ["A", "B"], ["1", "2"])
