"""What a training gives its trainer: the weights of the classes, the pictures varied, the validation fold as it is."""

import dataclasses
import json
from typing import Any

import pandas as pd
import pytest
import torch

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops
from fer_cli.documents import write_metadata
from fer_cli.errors import UsageError
from fer_cli.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from fer_cli.training import fit as fitting
from fer_cli.training.recipes.base import Recipe
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.recipes.disentangled import DisentangledRecipe
from fer_cli.training.recipes.vit_se import ViTSERecipe
from tests.made import made_model

SCRATCH = DifferenceRecipe(encoder="scratch", backbone="mobilenet_v3_small", epochs=1, logger=("none",))


class StoppedError(Exception):
    """Raised in place of training."""


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What ``make_trainer`` is called with for a recipe and a dataset: model, training and validation data, weights."""

    def watched(recipe: Recipe, dataset: PreparedDataset) -> dict[str, Any]:
        seen = {}

        def note(model, recipe, train, val, collate, *_, class_weights=None, **__):
            seen.update(model=model, train=train, val=val, collate=collate, class_weights=class_weights)
            raise StoppedError

        monkeypatch.setattr(fitting, "make_trainer", note)
        with pytest.raises(StoppedError):
            fitting.fit(recipe, dataset, tmp_path / f"run{len(list(tmp_path.iterdir()))}", device="cpu")
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
    # Of the logits' own type, without which there is no loss.
    assert seen["class_weights"].dtype == torch.float32
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


def test_the_views_of_a_frozen_encoder_are_the_augmentations_and_the_seeds(given, made, tmp_path):
    made_model(features="target").save_pretrained(tmp_path / "encoder")
    frozen = DifferenceRecipe(encoder=str(tmp_path / "encoder"), augment="light", views=2, logger=("none",))

    def views(recipe: DifferenceRecipe) -> set[bytes]:
        train = given(recipe, made)["train"]
        return {train[0]["embeddings"].numpy().tobytes() for _ in range(40)}

    first = views(frozen)
    assert len(first) > 1
    assert views(frozen) == first
    for other in ({"seed": 1}, {"augment": "paper"}):
        # The crop as it is may be among both.
        assert len(views(dataclasses.replace(frozen, **other)) & first) <= 1


@pytest.mark.parametrize(
    ("recipe", "mean", "deviation"),
    [(SCRATCH, IMAGENET_MEAN, IMAGENET_STD), (ViTSERecipe(backbone="tiny", logger=("none",)), (0.5,) * 3, (0.5,) * 3)],
    ids=["difference", "vit-se"],
)
def test_a_batch_is_normalised_as_the_published_weights_were(given, made, recipe, mean, deviation):
    seen = given(dataclasses.replace(recipe, augment="none"), made)
    [batch] = batches(seen, "train", 1)
    for pixels, crop in zip(batch, crops_of(made, "train"), strict=True):
        for channel in range(3):
            expected = (crop[channel] / 255 - mean[channel]) / deviation[channel]
            torch.testing.assert_close(pixels[channel], expected)


def test_an_adversary_is_given_who_is_shown_and_nobody_else_is(given, made):
    stage_1 = DisentangledRecipe(
        stage=1, encoder="scratch", identity="none", backbone="mobilenet_v3_small", logger=("none",)
    )
    seen = given(dataclasses.replace(stage_1, disentangle="adversarial"), made)
    shown = made.split(0, paired=False)["train"]["subject"]
    assert [int(seen["train"][place]["subjects"]) for place in range(9)] == [
        sorted(shown.unique()).index(name) for name in shown
    ]
    assert seen["model"].config.subjects == 3
    assert "subjects" not in given(stage_1, made)["train"][0]


def test_weights_of_a_training_that_is_not_finished_do_not_say_the_pictures_size(given, made, tmp_path):
    encoder = tmp_path / "unfinished" / "checkpoints" / "checkpoint-3"
    made_model(features="target").save_pretrained(encoder)
    write_metadata(encoder / "model.safetensors", {"seen_subjects": json.dumps({"made": ["P03"]})})
    (tmp_path / "unfinished" / "unfinished.json").write_text("{}")
    seen = given(dataclasses.replace(SCRATCH, encoder=str(encoder), tune_encoder=True), made)
    assert seen["train"][0]["pixel_values"].shape == (3, 32, 32)


def test_on_another_device_than_asked_for_nothing_is_trained(made, tmp_path, monkeypatch):
    asked = []

    def note(name):
        asked.append(name)
        raise StoppedError

    monkeypatch.setattr(fitting, "choose_device", note)
    for settings in ({}, {"device": "mps"}):
        with pytest.raises(StoppedError):
            fitting.fit(SCRATCH, made, tmp_path / "run", **settings)
    assert asked == ["auto", "mps"]


def test_what_is_trained_first_is_trained_as_the_whole_was_asked_to_be(made, tmp_path, monkeypatch):
    fit, asked = fitting.fit, []

    def note(*which, **settings):
        asked.append((which, settings))
        raise StoppedError

    monkeypatch.setattr(fitting, "fit", note)
    recipe = DisentangledRecipe(encoder="scratch", identity="none", backbone="mobilenet_v3_small")
    settings = {"device": "cpu", "allow_seen": True, "command": "fer train disentangled", "progress": print}
    settings["strangers"] = (tmp_path / "others",)
    with pytest.raises(StoppedError):
        fit(recipe, made, tmp_path / "run", **settings)
    assert asked == [((dataclasses.replace(recipe, stage=1), made, tmp_path / "run" / "stage1"), settings)]
