import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from fer_cli.prediction.grouping import group


def people(count: int, faces: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``faces`` faces each of ``count`` people in mixed order, and who each is. Only people differ much."""
    chance = np.random.default_rng(seed)
    who = chance.permutation(np.repeat(np.arange(count), faces))
    return np.eye(max(count, 2))[who] + chance.normal(0, 0.05, (len(who), max(count, 2))), who


def test_two_faces_are_one_person_below_the_threshold_and_two_above():
    # cos 60° = 0.5, so they are 0.5 apart.
    faces = np.array([[1, 0], [0.5, np.sqrt(3) / 2]])
    assert group(faces, 0.51).tolist() == [0, 0]
    assert group(faces, 0.49).tolist() == [0, 1]


def test_the_mean_distance_decides_not_the_nearest_face():
    # At 0°, 40° and 80°: neighbours are 0.234 apart, the outer ones 0.826, the third from the pair 0.53 on average.
    turns = np.radians([0, 40, 80])
    faces = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    assert group(faces, 0.4).tolist() in ([0, 0, 1], [0, 1, 1])
    assert group(faces, 0.6).tolist() == [0, 0, 0]


def test_what_all_faces_share_is_taken_away_first():
    faces = np.array([[10.0, 1.0], [10.0, -1.0]])
    assert group(faces, 0.5).tolist() == [0, 0]
    assert group(faces, 0.5, centre=np.array([10.0, 0.0])).tolist() == [0, 1]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.integers(2, 40))
def test_people_are_told_apart_at_once_and_in_parts(count, faces, seed, at_once):
    embeddings, who = people(count, faces, seed)
    found = group(embeddings.astype(np.float16), 0.5, at_once=at_once)
    assert adjusted_rand_score(who, found) == 1
    # Numbered in the order of their first faces.
    assert list(dict.fromkeys(found.tolist())) == list(range(count))


@pytest.mark.parametrize("count", [0, 1])
def test_few_faces(count):
    assert group(np.ones((count, 4), np.float16), 0.5).tolist() == [0] * count


def test_a_face_without_any_features_does_no_harm():
    assert len(group(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1]]), 0.5)) == 3
