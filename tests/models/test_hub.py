import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from fer_cli.errors import ModelError
from fer_cli.models.hub import load_published, vocabulary

LABELS = ("happy", "Sad", "angry", "boredom", "neutral")
NAMES = ("happiness", "sadness", "anger", "boredom", "neutral")


@pytest.fixture(params=["vit", "resnet"])
def folder(request, tmp_path):
    """A small model of somebody else's, as save_pretrained writes it, with means and sizes of its own."""
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {name: place for place, name in enumerate(LABELS)}}
    if request.param == "vit":
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        model = ViTForImageClassification(ViTConfig(image_size=32, patch_size=16, **small, **labels))
    else:
        small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        model = ResNetForImageClassification(ResNetConfig(**small, **labels))
    model.save_pretrained(tmp_path / request.param)
    processor = ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    processor.save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def test_labels_are_the_vocabularys_where_they_mean_one_of_it_and_it_is_said(folder):
    classifier, about = load_published(folder, "cpu")
    assert classifier.classes == NAMES
    assert "happy → happiness" in about
    assert about.endswith("kept under their own names: boredom")


def test_probabilities_are_those_of_the_models_own_pipeline(folder):
    classifier, _ = load_published(folder, "cpu")
    assert not classifier.paired
    assert {"size", "margin"} <= set(classifier.preprocessing.face_crop)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    from transformers import pipeline

    pipe = pipeline("image-classification", model=str(folder), top_k=None)
    expected = [{row["label"]: row["score"] for row in pipe(Image.fromarray(face))} for face in pixels]
    found = classifier.probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    for row, one in zip(found, expected, strict=True):
        assert row == pytest.approx([one[label] for label in LABELS], abs=1e-5)
    assert abs(found[0] - found[1]).max() > 1e-4


def test_two_labels_of_one_meaning_do_not_become_one_class():
    assert vocabulary(("joy", "happy", "NO-Emotion")) == ("happiness", "happy", "neutral")


def test_a_name_that_is_not_here_says_how_to_bring_it(tmp_path):
    with pytest.raises(ModelError) as caught:
        load_published("nobody/no-such-model", "cpu")
    assert "cannot be downloaded" in caught.value.message
    assert "hf download nobody/no-such-model" in caught.value.mend


def test_a_folder_that_is_no_model_is_said(tmp_path):
    with pytest.raises(ModelError, match="is no model"):
        load_published(tmp_path, "cpu")


def test_a_model_of_something_else_is_said(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(**small, vocab_size=20)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="image classification"):
        load_published(tmp_path, "cpu")


def test_code_that_comes_with_a_model_is_not_run(folder):
    config = folder / "config.json"
    homes = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    config.write_text(json.dumps({"model_type": "strange", "auto_map": homes}))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    with pytest.raises(ModelError, match="code that comes with a model is not run"):
        load_published(folder, "cpu")
