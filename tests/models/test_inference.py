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
