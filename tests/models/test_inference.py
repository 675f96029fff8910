import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_cli.errors import ModelError
from fer_cli.evaluation.calibration import tempered
from fer_cli.models import Classifier, Preprocessing
from fer_cli.models.onnx import with_runtime
from tests.made import made_model


@pytest.fixture
def folder(tmp_path):
    made_model(classes=("fear", "anger")).save_pretrained(tmp_path)
    Preprocessing(32, face_crop={"size": 32, "margin": 0.15}).save(tmp_path)
    return tmp_path


def test_probabilities_have_the_models_own_order_of_classes(folder):
    classifier = Classifier.load(folder, "cpu")
    assert classifier.classes == ("fear", "anger")
    faces = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8)
    probabilities = classifier.probabilities(faces, faces.flip(0))
    assert probabilities.shape == (3, 2)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert len(np.unique(probabilities.round(4), axis=0)) == 3


def test_a_face_has_the_same_probabilities_alone_and_in_a_batch(folder):
    classifier = Classifier.load(folder, "cpu")
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    together = classifier.probabilities(faces, faces.flip(0))
    alone = classifier.probabilities(faces[1:2], faces.flip(0)[1:2])
    assert np.allclose(together[1:2], alone, atol=1e-5)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        Classifier.load(tmp_path)


def test_somebody_elses_model_is_refused(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace("fer-difference", "vit"))
    with pytest.raises(ModelError, match="vit model"):
        Classifier.load(folder)


def test_broken_weights_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        Classifier.load(folder)


def test_a_temperature_divides_the_logits_and_keeps_the_answers(folder):
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    plain = Classifier.load(folder, "cpu").probabilities(faces, faces.flip(0))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "softmax_temperature": 2.5}))
    classifier = Classifier.load(folder, "cpu")
    assert classifier.temperature == 2.5
    assert np.allclose(classifier.probabilities(faces, faces.flip(0)), tempered(plain, 2.5), atol=1e-6)
    # What is saved again is calibrated still.
    classifier.model.save_pretrained(folder / "again")
    Preprocessing(32).save(folder / "again")
    assert Classifier.load(folder / "again", "cpu").temperature == 2.5


@pytest.mark.parametrize("temperature", [0, -1, 1e9, "2", None])
def test_a_temperature_that_is_none_is_refused(folder, temperature):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "softmax_temperature": temperature}))
    with pytest.raises(ModelError, match="temperature"):
        Classifier.load(folder, "cpu")


def test_of_two_views_the_mean_is_calibrated():
    classifier = Classifier(made_model(features="target"), Preprocessing(32), torch.device("cpu"))
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    classifier.tta = "flip"
    mean = classifier.probabilities(faces)
    classifier.temperature = 3.0
    assert np.allclose(classifier.probabilities(faces), tempered(mean, 3.0), atol=1e-6)


def test_onnx_runtime_answers_at_the_same_temperature(tmp_path):
    model = made_model(features="target")
    faces = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    found = []
    for temperature in (1.0, 3.0):
        model.config.softmax_temperature = temperature
        classifier = Classifier(model, Preprocessing(32), torch.device("cpu"))
        fast, about = with_runtime(classifier, "onnxruntime")
        assert about.startswith("onnxruntime")
        assert np.allclose(fast.probabilities(faces), classifier.probabilities(faces), atol=1e-4)
        found.append(fast.probabilities(faces))
    assert np.allclose(found[1], tempered(found[0], 3.0), atol=1e-4)


def test_weights_stored_in_float16_are_computed_with_in_float32(folder):
    tensors = load_file(folder / "model.safetensors")
    halved = {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    exact = Classifier.load(folder, "cpu").probabilities(faces, faces.flip(0))
    save_file(halved, folder / "model.safetensors", {"format": "pt"})
    classifier = Classifier.load(folder, "cpu")
    assert {each.dtype for each in classifier.model.state_dict().values() if each.is_floating_point()} == {
        torch.float32
    }
    for name, tensor in classifier.model.state_dict().items():
        assert torch.equal(tensor, halved[name].to(tensor.dtype))
    assert np.abs(classifier.probabilities(faces, faces.flip(0)) - exact).max() < 0.01
    halved[next(name for name in halved if name.endswith("running_var"))][0] = float("inf")
    save_file(halved, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="infinite"):
        Classifier.load(folder, "cpu")


def mirrored_by_hand(classifier, faces, neutrals):
    """The mean of what the classifier says of the pictures and of their mirror images, one view at a time."""
    classifier.tta = None
    views = [
        classifier.probabilities(*(None if each is None else each.flip(-1) if flip else each for each in pair))
        for pair, flip in (((faces, neutrals), False), ((faces, neutrals), True))
    ]
    classifier.tta = "flip"
    return np.mean(views, axis=0)


@pytest.mark.parametrize("features", ["target", "both"])
def test_flip_averages_the_probabilities_of_a_picture_and_its_mirror_image(features):
    classifier = Classifier(made_model(features=features), Preprocessing(32), torch.device("cpu"))
    assert classifier.tta is None
    faces = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    neutrals = faces.flip(0) if classifier.paired else None
    one_view = classifier.probabilities(faces, neutrals)
    expected = mirrored_by_hand(classifier, faces, neutrals)
    found = classifier.probabilities(faces, neutrals)
    assert np.allclose(found, expected, atol=1e-6)
    assert not np.allclose(found, one_view, atol=1e-4)
    # As evaluation asks, by the network's own inputs.
    inputs = {"pixel_values": classifier.preprocessing(faces)}
    if classifier.paired:
        inputs["neutral_pixel_values"] = classifier.preprocessing(neutrals)
    assert np.allclose(classifier.classify(inputs), expected, atol=1e-6)


def test_an_embedded_neutral_face_is_the_same_for_both_views():
    classifier = Classifier(made_model(), Preprocessing(32), torch.device("cpu"))
    faces = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    neutral = classifier.embed(faces.flip(0))
    expected = (
        classifier.probabilities(faces, neutral_embeddings=neutral)
        + classifier.probabilities(faces.flip(-1), neutral_embeddings=neutral)
    ) / 2
    classifier.tta = "flip"
    assert np.allclose(classifier.probabilities(faces, neutral_embeddings=neutral), expected, atol=1e-6)


def test_the_stored_augmentation_is_taken_unless_another_is_asked_for(tmp_path):
    model = made_model(features="target")
    model.config.tta = "flip"
    model.save_pretrained(tmp_path)
    Preprocessing(32).save(tmp_path)
    assert Classifier.load(tmp_path, "cpu").tta == "flip"
    assert Classifier.load(tmp_path, "cpu", tta="none").tta == "none"
