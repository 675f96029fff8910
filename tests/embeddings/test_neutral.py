import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from fer_cli.embeddings.neutral import NeutralMean, distances, neutral_mean, of_run, unit
from fer_cli.errors import RunError
from fer_cli.models import Preprocessing
from fer_cli.runs.run import Run

CPU = torch.device("cpu")
TRAINED = {"P03", "P06", "P09"}


class Corners(nn.Module):
    """An embedding that can be worked out by hand: the mean of each quarter of the picture, in three colours."""

    width = 12

    def forward(self, pixel_values):
        return nn.functional.adaptive_avg_pool2d(pixel_values, 2).flatten(1)


def plain() -> Preprocessing:
    return Preprocessing(32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def found(made, **settings) -> NeutralMean:
    return neutral_mean(Corners(), made, plain(), **{"subjects": TRAINED, "fold": 0, "device": CPU, **settings})


def by_hand(path) -> np.ndarray:
    pixels = np.asarray(Image.open(path), float) / 255
    quarters = pixels.reshape(2, 16, 2, 16, 3).mean(axis=(1, 3))
    return quarters.transpose(2, 0, 1).ravel()


def test_it_is_the_average_of_the_training_peoples_neutral_faces(made):
    expected = np.mean([by_hand(made.path / f"images/{name}/neutral.png") for name in sorted(TRAINED)], axis=0)
    mean = found(made)
    assert mean.subjects == 3
    assert mean.mean.numpy() == pytest.approx(expected, abs=1e-6)


def test_a_person_with_many_neutral_pictures_counts_once(made):
    metadata = made.metadata
    again = metadata[(metadata["subject"] == "P03") & (metadata["label"] == "neutral")]
    twice = type(made)(made.path, made.card, pd.concat([metadata, again, again]))
    assert found(twice).mean.numpy() == pytest.approx(found(made).mean.numpy(), abs=1e-6)


def test_nothing_of_the_test_fold_is_looked_at(made):
    expected = found(made)
    for name in made.metadata[made.metadata["fold"] == 0]["file_name"]:
        (made.path / name).unlink()
    assert found(made).threshold == expected.threshold


def test_one_in_ten_validation_people_has_a_double_nearer_than_the_threshold(made):
    mean = found(made)
    others = made.metadata[made.metadata["fold"] == 1]
    faces = unit(np.array([by_hand(made.path / name) for name in others["file_name"]]), mean.mean.numpy())
    doubles = []
    for name in sorted(set(others["subject"])):
        own = (others["subject"] == name).to_numpy()
        nearest = [min(distances(face[None], faces[~own])[0]) for face in faces[own]]
        doubles.append(np.median(nearest))
    assert len(doubles) == 3
    assert mean.threshold == pytest.approx(np.quantile(doubles, 0.1), abs=1e-5)


def test_there_is_none_without_neutral_faces(made):
    assert found(made, subjects={"nobody"}) is None


def test_without_folds_there_is_no_threshold(made):
    made.card["protocol"]["folds"] = 0
    assert found(made).threshold is None


@pytest.mark.parametrize("threshold", [None, 0.125])
def test_it_is_read_as_it_was_written(tmp_path, threshold):
    assert NeutralMean.load(tmp_path) is None
    NeutralMean(torch.arange(3.0), 7, threshold).save(tmp_path)
    read = NeutralMean.load(tmp_path)
    assert (read.mean.tolist(), read.subjects, read.threshold) == ([0, 1, 2], 7, threshold)


def test_a_file_that_is_something_else_is_said(tmp_path):
    (tmp_path / "neutral.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="not what fer wrote"):
        NeutralMean.load(tmp_path)


def test_a_run_from_before_finds_it_in_its_dataset_and_keeps_it(made, tmp_path):
    card = {"dataset": {"path": str(made.path)}, "fold": 0, "subjects": {"train": sorted(TRAINED)}}
    run = Run(tmp_path, json.loads(json.dumps(card)))
    mean = of_run(run, Corners(), plain(), CPU)
    assert torch.equal(mean.mean, found(made).mean)
    run.card["dataset"]["path"] = str(tmp_path / "gone")
    assert torch.equal(of_run(run, Corners(), plain(), CPU).mean, mean.mean)
    (tmp_path / "neutral.safetensors").unlink()
    with pytest.raises(RunError, match="no longer there"):
        of_run(run, Corners(), plain(), CPU)


@pytest.mark.parametrize(
    ("mean", "told"),
    [
        (torch.tensor([0.0, float("nan")]), {}),
        (torch.tensor([0.0, float("inf")]), {}),
        (torch.zeros(2, 2), {}),
        (torch.zeros(2, dtype=torch.int64), {}),
        (torch.zeros(2), {"threshold": "nan"}),
        (torch.zeros(2), {"threshold": "inf"}),
        (torch.zeros(2), {"subjects": "many"}),
    ],
)
def test_a_mean_that_is_no_number_is_refused(tmp_path, mean, told):
    save_file({"mean": mean}, tmp_path / "neutral.safetensors", {"subjects": "3", **told})
    with pytest.raises(RunError, match="not what fer wrote"):
        NeutralMean.load(tmp_path)


def test_a_mean_of_another_encoder_is_refused(tmp_path):
    NeutralMean(torch.zeros(7), 3).save(tmp_path)
    with pytest.raises(RunError, match="7 numbers in place of 12"):
        of_run(Run(tmp_path, {}), Corners(), plain(), CPU)


def test_distances_are_cosines_taken_from_one():
    one, other = unit(np.array([[3.0, 0.0]])), unit(np.array([[0.0, 2.0], [1.0, 0.0], [-5.0, 0.0], [0.0, 0.0]]))
    assert distances(one, other).tolist() == [[1, 0, 2, 1]]
