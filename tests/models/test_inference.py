import numpy as np
import pytest
import torch

from fer_cli.errors import ModelError
from fer_cli.models import Classifier, Preprocessing
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
