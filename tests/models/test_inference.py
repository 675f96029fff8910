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
