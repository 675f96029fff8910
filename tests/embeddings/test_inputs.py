import pytest
import torch
from torch.utils.data import DataLoader

from fer_cli.dataset.tensors import Crops
from fer_cli.embeddings.embed import Embeddings
from fer_cli.embeddings.inputs import Collator, EmbeddedFaces, embed_frozen, model_inputs
from fer_cli.models import DisentangledConfig, DisentangledModel
from fer_cli.models.preprocessing import Preprocessing
from tests.made import CLASSES, made_model

CPU = torch.device("cpu")
INDEX = {name: place for place, name in enumerate(CLASSES)}


def batches(model, made, frozen):
    rows = made.samples(paired=model.paired)
    preprocessing = Preprocessing(32)
    collator = Collator(preprocessing)
    faces = model_inputs(model, rows, Crops(made.path, size=32), frozen)
    loader = DataLoader(faces, batch_size=5, collate_fn=collator)
    return [collator.prepare(batch, training=False) for batch in loader]


@pytest.mark.parametrize("features", ["both", "difference", "target"])
def test_a_model_answers_the_same_from_embeddings_as_from_pictures(made, features):
    model = made_model(features=features).train()
    frozen = embed_frozen(model, made, Preprocessing(32), device=CPU, crops=Crops(made.path))
    assert list(frozen) == ["embeddings"]
    for from_embeddings, from_pictures in zip(batches(model, made, frozen), batches(model, made, {}), strict=True):
        assert "pixel_values" not in from_embeddings
        assert torch.equal(from_embeddings["labels"], from_pictures["labels"])
        with torch.no_grad():
            one, other = model(**from_embeddings), model(**from_pictures)
        assert torch.allclose(one.logits, other.logits, atol=1e-5)
        assert torch.allclose(one.loss, other.loss, atol=1e-5)


def test_identity_embeddings_stand_beside_the_pictures_of_stage_1(made):
    torch.manual_seed(0)
    small = "mobilenet_v3_small"
    model = DisentangledModel(
        DisentangledConfig(backbone=small, identity=small, id2label=dict(enumerate(CLASSES)), label2id=INDEX)
    ).eval()
    frozen = embed_frozen(model, made, Preprocessing(32), device=CPU, crops=Crops(made.path))
    assert list(frozen) == ["identity_embeddings"]
    for beside, alone in zip(batches(model, made, frozen), batches(model, made, {}), strict=True):
        assert torch.equal(beside["pixel_values"], alone["pixel_values"])
        with torch.no_grad():
            assert torch.allclose(model(**beside).logits, model(**alone).logits, atol=1e-5)


def test_pictures_are_the_rows_own_and_so_is_what_stands_beside_them(made):
    rows = made.samples(paired=True)
    marks = torch.arange(len(rows))
    faces = model_inputs(made_model(), rows, Crops(made.path), {}, extra={"marks": marks})
    crops = Crops(made.path)
    for place, (name, neutral) in enumerate(zip(rows["file_name"], rows["neutral_file_name"], strict=True)):
        assert torch.equal(faces[place]["pixel_values"], crops[name])
        assert torch.equal(faces[place]["neutral_pixel_values"], crops[neutral])
        assert faces[place]["marks"] == place


def test_soft_labels_stand_in_for_the_classes(made):
    rows = made.samples(paired=True)
    votes = torch.rand(len(rows), 3).softmax(dim=1)
    for frozen in ({}, {"embeddings": stored(made, 1)}):
        faces = model_inputs(made_model(), rows, Crops(made.path), frozen, soft_labels=votes)
        assert torch.equal(faces.__getitems__([4, 1])["labels"], votes[[4, 1]])
        assert torch.equal(faces[4]["labels"], votes[4])


def stored(made, views: int) -> Embeddings:
    names = made.metadata["file_name"].tolist()
    places = torch.arange(len(names), dtype=torch.float32)
    return Embeddings(names, torch.stack([1000.0 * view + places for view in range(views)])[..., None])


def test_in_training_a_face_and_its_neutral_face_come_from_the_same_view(made):
    rows = made.samples(paired=True)
    faces = EmbeddedFaces(rows, stored(made, 4), INDEX, paired=True, varied=True)
    torch.manual_seed(0)
    batch = faces.__getitems__(list(range(len(faces))))
    views = batch["embeddings"] // 1000
    assert torch.equal(views, batch["neutral_embeddings"] // 1000)
    assert set(views.flatten().tolist()) == {0, 1, 2, 3}
    names = made.metadata["file_name"].tolist()
    assert [names[int(place)] for place in batch["embeddings"].flatten() % 1000] == rows["file_name"].tolist()
    neutrals = [names[int(place)] for place in batch["neutral_embeddings"].flatten() % 1000]
    assert neutrals == rows["neutral_file_name"].tolist()


def test_elsewhere_only_the_crop_as_it_is_is_seen(made):
    faces = EmbeddedFaces(made.samples(paired=True), stored(made, 4), INDEX, paired=True)
    assert all(faces[place]["embeddings"] < 1000 for place in range(len(faces)))


def shades(*values: int) -> list[dict]:
    return [
        {
            "pixel_values": torch.full((3, 16, 16), shade, dtype=torch.uint8),
            "neutral_pixel_values": torch.zeros((3, 16, 16), dtype=torch.uint8),
            "identity_embeddings": torch.tensor([shade, 1.0]),
            "labels": shade,
        }
        for shade in values
    ]


def test_a_batch_comes_in_bytes_and_becomes_what_the_network_takes_on_the_device():
    samples = shades(0, 1, 2)
    preprocessing = Preprocessing(16)
    collator = Collator(preprocessing)
    raw = collator(samples)
    assert raw["pixel_values"].dtype == raw["neutral_pixel_values"].dtype == torch.uint8
    batch = collator.prepare(raw, training=True)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert torch.equal(batch["pixel_values"][2], preprocessing(samples[2]["pixel_values"][None])[0])
    assert torch.equal(batch["neutral_pixel_values"][2], batch["pixel_values"][0])
    assert batch["identity_embeddings"].tolist() == [[0, 1], [1, 1], [2, 1]]


def test_only_training_batches_are_augmented_and_mixed():
    def vary(batch):
        return {**batch, "pixel_values": 255 - batch["pixel_values"]}

    def mix(pictures, labels):
        return pictures.flip(0), torch.eye(3)[labels]

    preprocessing = Preprocessing(16)
    collator = Collator(preprocessing, vary=vary, mix=mix)
    raw = collator(shades(0, 1, 2))
    plain, training = (collator.prepare(raw, training=training) for training in (False, True))
    assert torch.equal(plain["pixel_values"], preprocessing(raw["pixel_values"]))
    assert torch.equal(training["pixel_values"], preprocessing(255 - raw["pixel_values"]).flip(0))
    assert torch.equal(training["labels"], torch.eye(3))
    assert raw["labels"].tolist() == plain["labels"].tolist() == [0, 1, 2]
