import numpy as np
import pytest

from fer_cli.evaluation.analysis.embeddings import ENOUGH_FOR_TSNE, map_embeddings


def groups(count: int, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """``count`` points in three groups far apart, and which group each is of."""
    group = np.arange(count) % 3
    noise = np.random.default_rng(0).normal(scale=0.1, size=(count, width))
    return 5 * np.eye(3, width)[group] + noise, group


@pytest.mark.parametrize("count", [12, ENOUGH_FOR_TSNE])
def test_what_is_alike_lies_together(count):
    embeddings, group = groups(count)
    found = map_embeddings(embeddings)
    centres = np.array([found.points[group == each].mean(axis=0) for each in range(3)])
    nearest = np.linalg.norm(found.points[:, None] - centres[None], axis=2).argmin(axis=1)
    assert nearest.tolist() == group.tolist()


def test_few_pictures_are_laid_out_by_pca_and_enough_by_tsne():
    assert map_embeddings(groups(ENOUGH_FOR_TSNE - 1)[0]).method.startswith("PCA")
    assert map_embeddings(groups(ENOUGH_FOR_TSNE)[0]).method.startswith("t-SNE, perplexity 20, seed 0")


def test_pca_keeps_distances_in_proportion():
    # Along one axis: 0, 1 and 3 stay so, from end to end of the map.
    found = map_embeddings([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    along = np.sort(found.points[:, 0])
    # Which end is which, a principal component does not say.
    assert min(along[1] - along[0], along[2] - along[1]) == pytest.approx(1 / 3)
    assert along[2] - along[0] == pytest.approx(1)
    assert found.points[:, 1] == pytest.approx(0.5)


def test_it_is_repeated_by_its_seed():
    embeddings, _ = groups(ENOUGH_FOR_TSNE)
    assert np.array_equal(map_embeddings(embeddings).points, map_embeddings(embeddings).points)


def test_of_many_pictures_some_are_shown(monkeypatch):
    monkeypatch.setattr("fer_cli.evaluation.analysis.embeddings.MOST_POINTS", 30)
    found = map_embeddings(groups(100)[0])
    assert len(found.places) == len(set(found.places)) == len(found.points) == 30


def test_embeddings_that_are_all_one_lie_in_the_middle():
    assert np.allclose(map_embeddings(np.ones((5, 3))).points, 0.5)


@pytest.mark.parametrize("strange", [np.ones((1, 3)), np.array([[1.0], [np.nan]])])
def test_what_cannot_be_mapped_is_refused(strange):
    with pytest.raises(ValueError, match="no map"):
        map_embeddings(strange)
