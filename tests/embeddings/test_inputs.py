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
    faces = model_inputs(model, rows, Crops(made.path), frozen, transform=preprocessing.resize)
    return list(DataLoader(faces, batch_size=5, collate_fn=Collator(preprocessing)))


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


def test_pictures_are_transformed_and_what_stands_beside_them_is_the_rows_own(made):
    rows = made.samples(paired=True)
    marks = torch.arange(len(rows))
    faces = model_inputs(
        made_model(), rows, Crops(made.path), {}, transform=lambda pictures: 255 - pictures, extra={"marks": marks}
    )
    crops = Crops(made.path)
    for place, (name, neutral) in enumerate(zip(rows["file_name"], rows["neutral_file_name"], strict=True)):
        assert torch.equal(faces[place]["pixel_values"], 255 - crops[name])
        assert torch.equal(faces[place]["neutral_pixel_values"], 255 - crops[neutral])
        assert faces[place]["marks"] == place


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


def test_a_batch_of_pictures_is_what_the_network_takes():
    samples = [
        {
            "pixel_values": torch.full((3, 16, 16), shade, dtype=torch.uint8),
            "neutral_pixel_values": torch.zeros((3, 16, 16), dtype=torch.uint8),
            "identity_embeddings": torch.tensor([shade, 1.0]),
            "labels": shade,
        }
        for shade in (0, 1, 2)
    ]
    preprocessing = Preprocessing(16)
    batch = Collator(preprocessing)(samples)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert torch.equal(batch["pixel_values"][2], preprocessing(samples[2]["pixel_values"][None])[0])
    assert torch.equal(batch["neutral_pixel_values"][2], batch["pixel_values"][0])
    assert batch["identity_embeddings"].tolist() == [[0, 1], [1, 1], [2, 1]]
