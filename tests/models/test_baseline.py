import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage.feature import hog
from sklearn.svm import LinearSVC

from fer_cli.errors import ModelError
from fer_cli.models import BaselineConfig, BaselineModel, Preprocessing
from fer_cli.models.baseline import HOGEncoder
from fer_cli.models.loading import fingerprint, load_own
from fer_cli.models.onnx import Logits, write_graph

CLASSES = ("anger", "fear", "happiness")


def model(classes: tuple[str, ...] = CLASSES, **settings) -> BaselineModel:
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(classes)), "label2id": {name: place for place, name in enumerate(classes)}}
    return BaselineModel(BaselineConfig(**{"image_size": 32, **settings}, **labels)).eval()


def faces(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(
    ("side", "orientations", "cell", "block", "width"), [(32, 8, 8, 2, 288), (40, 9, 8, 3, 729), (33, 6, 16, 1, 24)]
)
def test_an_embedding_is_scikit_images_hog_of_the_grey_face(side, orientations, cell, block, width):
    encoder = HOGEncoder(side, orientations, cell, block)
    pixels = faces(side=side)
    found = encoder(pixels)
    assert found.shape == (2, encoder.width) == (2, width)
    grey = (pixels * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(dim=1).numpy()
    for row, face in zip(found.numpy(), grey, strict=True):
        settings = {"pixels_per_cell": (cell, cell), "cells_per_block": (block, block)}
        assert row == pytest.approx(hog(face, orientations=orientations, **settings), abs=1e-6)


def test_a_grey_picture_has_the_hog_of_its_one_channel():
    grey = faces(1)[:, :1].expand(-1, 3, -1, -1)
    expected = hog(grey[0, 0].numpy(), orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    assert HOGEncoder(32, 8, 8, 2)(grey)[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_a_picture_without_room_for_a_block_and_one_of_another_size_are_refused():
    with pytest.raises(ModelError, match="32 pixels has no block of 3 × 3 cells of 16"):
        HOGEncoder(32, 8, 16, 3)
    with pytest.raises(ModelError, match="32 pixels a side, and got 64×64"):
        HOGEncoder(32, 8, 8, 2)(faces(side=64))


def test_stored_embeddings_of_other_settings_are_others():
    settings = [(32, 8, 8, 2), (32, 9, 8, 2), (32, 8, 16, 2), (32, 8, 8, 1), (40, 8, 8, 2)]
    prints = [fingerprint(HOGEncoder(*each)) for each in settings]
    assert len(set(prints)) == len(settings)
    assert prints[0] == fingerprint(HOGEncoder(*settings[0]))


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2]])
@pytest.mark.parametrize("features", ["target", "difference", "both"])
def test_logits_are_the_machines_decision_values_and_answers_its_own(classes, features):
    made, random = model(classes, features=features), np.random.default_rng(0)
    target, neutral = (torch.from_numpy(random.random((60, made.encoder.width), np.float32)) for _ in range(2))
    seen = {"target": target, "difference": target - neutral, "both": torch.cat([target - neutral, target], dim=1)}
    labels = random.integers(0, len(classes), 60)
    machine = LinearSVC(C=0.1, dual=False).fit(seen[features][:40].numpy(), labels[:40])
    made.set_machine(machine.coef_, machine.intercept_)
    with torch.no_grad():
        logits = made(embeddings=target, neutral_embeddings=neutral).logits.numpy()
    expected = machine.decision_function(seen[features].numpy())
    if len(classes) == 2:
        expected = np.stack([-expected, expected], axis=1)
    assert logits == pytest.approx(expected, abs=1e-4)
    assert (logits.argmax(axis=1) == machine.predict(seen[features].numpy())).all()


def test_half_precision_around_it_changes_nothing():
    made, embeddings = model(), HOGEncoder(32, 8, 8, 2)(faces(8))
    with torch.no_grad():
        expected = made(embeddings=embeddings).logits
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(made(embeddings=embeddings).logits, expected)


def test_pictures_and_their_embeddings_give_the_same():
    made, (target, neutral) = model(features="both"), faces(4).chunk(2)
    with torch.no_grad():
        embedded = made(embeddings=made.encoder(target), neutral_embeddings=made.encoder(neutral)).logits
        assert torch.equal(made(target, neutral).logits, embedded)
    with pytest.raises(ValueError, match="neutral_pixel_values"):
        made(target)


@pytest.mark.parametrize("features", ["target", "both"])
def test_a_class_is_explained_by_what_each_block_adds_to_its_decision_value(features):
    made, (target, neutral) = model(features=features), faces(2).chunk(2)
    weight = torch.zeros_like(made.output_layer.weight)
    # Of the middle block of 3 × 3, in the part that is the face's own.
    own = slice(weight.shape[1] - made.encoder.width + 4 * 32, weight.shape[1] - made.encoder.width + 5 * 32)
    weight[1, own] = 1.0
    made.set_machine(weight.numpy(), np.zeros(3))
    found = made.saliency(target, 1, None if features == "target" else neutral)
    assert found.shape == (3, 3)
    assert found[1, 1] == pytest.approx(made.encoder(target)[0, 4 * 32 : 5 * 32].sum().item())
    assert found.sum() == found[1, 1] > 0
    assert made.saliency(target, 0, None if features == "target" else neutral).max() == 0
    made.set_machine(-weight.numpy(), np.zeros(3))
    assert made.saliency(target, 1, None if features == "target" else neutral).max() == 0


def test_it_is_frozen_in_training_mode_and_embeds_faces():
    made = model().train()
    assert made.frozen == {"embeddings": made.encoder}
    assert not made.encoder.training
    assert made.features(faces()).shape == (2, made.encoder.width)
    assert not made.convolutional


def test_a_graph_of_it_is_refused_with_the_reason(tmp_path):
    graph = Logits(model())
    with pytest.raises(ModelError, match="scikit-image computes its HOG"):
        write_graph(graph, {"pixel_values": faces()}, "logits", tmp_path / "x.onnx", trace=graph.traceable)
    assert not list(tmp_path.iterdir())


def saved(folder, **settings) -> BaselineModel:
    made = model(**settings)
    made.config.softmax_temperature = 0.25
    made.save_pretrained(folder)
    Preprocessing(32, (0.0,) * 3, (1.0,) * 3).save(folder)
    return made


def test_a_saved_model_is_loaded_with_its_temperature(tmp_path):
    made, loaded = saved(tmp_path, features="both", orientations=6), load_own(tmp_path)
    assert isinstance(loaded, BaselineModel)
    assert loaded.temperature == 0.25
    assert (loaded.paired, loaded.encoder.orientations) == (True, 6)
    with torch.no_grad():
        assert torch.equal(loaded(*faces(2).chunk(2)).logits, made(*faces(2).chunk(2)).logits)


def test_hostile_weights_and_settings_are_refused(tmp_path):
    saved(tmp_path)
    weights, config = load_file(tmp_path / "model.safetensors"), json.loads((tmp_path / "config.json").read_text())
    [name] = [each for each in weights if each.endswith("weight")]
    for spoilt, why in (
        ({**weights, name: weights[name] * float("nan")}, "NaN or infinite"),
        ({**weights, name: weights[name][:, :7].clone()}, "another shape"),
        ({each: value for each, value in weights.items() if each != name}, "lack"),
        ({**weights, "more": torch.ones(2)}, "of another model"),
    ):
        save_file(spoilt, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=why):
            load_own(tmp_path)
    save_file(weights, tmp_path / "model.safetensors")
    for changes in (
        {"image_size": 4096, "pixels_per_cell": 1},
        {"image_size": 5000},
        {"cells_per_block": 0},
        {"pixels_per_cell": 33},
        {"features": "everything"},
        {"orientations": 8.5},
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ModelError):
            load_own(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    load_own(tmp_path)
