"""What a training gives its trainer: the weights of the classes, the pictures varied, the validation fold as it is."""

import dataclasses
from typing import Any

import pandas as pd
import pytest
import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.errors import UsageError
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.training import fit as fitting
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.made import made_model

SCRATCH = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, logger=("none",))


class StoppedError(Exception):
    """Raised in place of training."""


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What ``make_trainer`` is called with for a recipe and a dataset: model, training and validation data, weights."""

    def watched(recipe: DifferenceRecipe, dataset: PreparedDataset) -> dict[str, Any]:
        seen = {}

        def note(model, recipe, train, val, collate, *_, class_weights=None, **__):
            seen.update(model=model, train=train, val=val, collate=collate, class_weights=class_weights)
            raise StoppedError

        monkeypatch.setattr(fitting, "make_trainer", note)
        with pytest.raises(StoppedError):
            fitting.fit(recipe, dataset, tmp_path / f"run-{recipe.augment}", device="cpu")
        return seen

    return watched


@pytest.fixture
def uneven(made) -> PreparedDataset:
    """The dataset with fewer faces of anger, and fewest of surprise: 3 subjects train, of whom all show happiness."""
    metadata = pd.read_csv(made.path / "metadata.csv", dtype="string")
    training = metadata["fold"] == "2"
    trained = sorted(metadata[training]["subject"].unique())
    without = training & (metadata["label"] == "surprise") & metadata["subject"].isin(trained[:2])
    without |= training & (metadata["label"] == "anger") & (metadata["subject"] == trained[0])
    metadata[~without].to_csv(made.path / "metadata.csv", index=False)
    return PreparedDataset.open(made.path)


def test_a_class_weighs_as_much_as_it_is_rare_among_the_training_faces(given, uneven):
    seen = given(dataclasses.replace(SCRATCH, class_weights=True), uneven)
    index = seen["model"].config.label2id
    counts = {"anger": 2, "happiness": 3, "surprise": 1}
    for label, count in counts.items():
        # As scikit-learn's "balanced": faces in all, by classes times faces of the class.
        assert seen["class_weights"][index[label]] == pytest.approx(6 / (3 * count))


def test_classes_weigh_alike_unless_asked_for(given, uneven):
    assert given(SCRATCH, uneven)["class_weights"] is None


def crops_of(dataset: PreparedDataset, side: str) -> list[torch.Tensor]:
    """The target crops of a side of fold 0, as evaluation sees them."""
    crops, preprocessing = Crops(dataset.path), Preprocessing(dataset.crop["size"])
    return [preprocessing.resize(crops[name]) for name in dataset.split(0, paired=True)[side]["file_name"]]


def batches(seen: dict[str, Any], side: str, times: int) -> list[torch.Tensor]:
    """The pictures of a side as the network gets them, in one batch, several times over."""
    data, collate = seen[side], seen["collate"]
    raw = collate(data.__getitems__(range(len(data))))
    return [collate.prepare(raw, training=side == "train")["pixel_values"] for _ in range(times)]


@pytest.mark.parametrize("augment", ["auto", "light", "paper", "wild"])
def test_validation_pictures_are_the_crops_as_they_are(given, made, augment):
    seen = given(dataclasses.replace(SCRATCH, augment=augment), made)
    expected = Preprocessing(32).normalise(torch.stack(crops_of(made, "val")))
    assert len(expected) == 9
    assert all(torch.equal(batch, expected) for batch in batches(seen, "val", 3))


@pytest.mark.parametrize("augment", ["auto", "light", "paper", "wild"])
def test_training_pictures_are_varied_each_time_anew(given, made, augment):
    seen = given(dataclasses.replace(SCRATCH, augment=augment), made)
    plain = Preprocessing(32).normalise(torch.stack(crops_of(made, "train")))
    views = torch.stack(batches(seen, "train", 4))
    assert views.shape == (4, *plain.shape)
    for place, crop in enumerate(plain):
        assert len({view.numpy().tobytes() for view in views[:, place]}) == 4
        assert any(not torch.equal(view, crop) for view in views[:, place])


def test_training_pictures_are_the_crops_themselves_where_none_is_asked_for(given, made):
    [batch] = batches(given(dataclasses.replace(SCRATCH, augment="none"), made), "train", 1)
    assert torch.equal(batch, Preprocessing(32).normalise(torch.stack(crops_of(made, "train"))))


SINGLE = dataclasses.replace(SCRATCH, features="target")


@pytest.mark.parametrize("options", [{"erasing": 1.0}, {"randaugment": 2}, {"mixup": 0.2}, {"cutmix": 1.0}])
def test_each_augmentation_works_by_itself(given, made, options):
    seen = given(dataclasses.replace(SINGLE, augment="none", **options), made)
    plain = Preprocessing(32).normalise(torch.stack(crops_of(made, "train")))
    torch.manual_seed(0)
    [batch] = batches(seen, "train", 1)
    assert batch.shape == plain.shape
    assert not torch.allclose(batch, plain)


def test_mixed_pictures_are_trained_on_with_mixed_labels(made, tmp_path):
    recipe = dataclasses.replace(SINGLE, mixup=0.4, cutmix=1.0, augment="wild", randaugment=1, batch_size=3)
    run = fitting.fit(recipe, made, tmp_path / "run", device="cpu")
    assert run.card["recipe"]["mixup"] == 0.4


def test_what_a_paired_model_compares_is_not_mixed():
    with pytest.raises(UsageError, match="no neutral face") as caught:
        dataclasses.replace(SCRATCH, cutmix=1.0)
    assert "--cutmix" in caught.value.hint


def test_embeddings_computed_once_are_not_mixed(given, made, tmp_path):
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    frozen = dataclasses.replace(SINGLE, encoder=str(tmp_path / "encoder"), backbone=None, mixup=0.2)
    with pytest.raises(UsageError, match="frozen") as caught:
        fitting.fit(frozen, made, tmp_path / "run", device="cpu")
    assert "--tune-encoder" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_pictures_come_in_the_size_asked_for(given, made):
    seen = given(dataclasses.replace(SCRATCH, size=48), made)
    assert {tuple(seen[side][0]["pixel_values"].shape) for side in ("train", "val")} == {(3, 48, 48)}


def test_pictures_come_in_the_size_that_the_run_saw_from_which_the_encoder_is_taken(given, made, tmp_path):
    before = fitting.fit(dataclasses.replace(SCRATCH, size=48), made, tmp_path / "before", device="cpu")
    seen = given(dataclasses.replace(SCRATCH, encoder=str(before.path), tune_encoder=True), made)
    assert seen["train"][0]["pixel_values"].shape == (3, 48, 48)
    seen = given(
        dataclasses.replace(SCRATCH, encoder=str(before.path), tune_encoder=True, size=40, augment="none"), made
    )
    assert seen["train"][0]["pixel_values"].shape == (3, 40, 40)


def test_of_a_frozen_encoder_training_sees_augmented_views_and_validation_the_crop(given, made, tmp_path):
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    frozen = DifferenceRecipe(encoder=str(tmp_path / "encoder"), epochs=1, logger=("none",))
    seen = given(dataclasses.replace(frozen, augment="paper", views=5), made)
    plain = given(frozen, made)
    torch.manual_seed(0)
    for place in range(9):
        validated = plain["val"][place]["embeddings"]
        assert all(torch.equal(seen["val"][place]["embeddings"], validated) for _ in range(3))
        drawn = {seen["train"][place]["embeddings"].numpy().tobytes() for _ in range(40)}
        assert 2 < len(drawn) <= 6
        # By itself a frozen encoder sees nothing varied.
        assert len({plain["train"][place]["embeddings"].numpy().tobytes() for _ in range(10)}) == 1
