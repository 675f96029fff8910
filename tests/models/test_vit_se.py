import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, ResNetConfig, ViTConfig, ViTModel, pipeline

from fer_cli.errors import ModelError
from fer_cli.models import TINY_VIT, VIT_B16, Classifier, Preprocessing, ViTSEConfig, ViTSEModel
from fer_cli.models.vit_se import pretrained_vit, vit_config
from fer_cli.training.recipes.base import BuildContext
from fer_cli.training.recipes.vit_se import ViTSERecipe

CLASSES = ("anger", "fear", "happiness")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pooler_output_size": 16,
    "image_size": 32,
}


def model(**settings) -> ViTSEModel:
    torch.manual_seed(0)
    labels = {name: index for index, name in enumerate(CLASSES)}
    return ViTSEModel(
        ViTSEConfig(**{"vit": ViTConfig(**SMALL), **settings}, id2label=dict(enumerate(CLASSES)), label2id=labels)
    ).eval()


def faces(count: int = 2, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def saved_vit(folder, **settings) -> ViTModel:
    torch.manual_seed(1)
    vit = ViTModel(ViTConfig(**{**SMALL, **settings})).eval()
    vit.save_pretrained(folder)
    return vit


def test_the_published_size_is_vit_b16_a_gate_and_a_linear_layer():
    with torch.device("meta"):
        network = ViTSEModel(ViTSEConfig(vit=vit_config(VIT_B16, 224), num_labels=7))
    own = {name: tuple(parameter.shape) for name, parameter in network.named_parameters() if not name.startswith("vit")}
    assert own == {
        "gate.squeeze.weight": (192, 768),
        "gate.squeeze.bias": (192,),
        "gate.excite.weight": (768, 192),
        "gate.excite.bias": (768,),
        "classifier.weight": (7, 768),
        "classifier.bias": (7,),
    }
    # ViT-B/16 without a classifier has 85.8 million parameters (Dosovitskiy et al. 2021; its table says 86 M).
    assert sum(parameter.numel() for parameter in network.vit.parameters()) == 85_798_656


@pytest.mark.parametrize("pooling", ["class-token", "pooler"])
def test_the_embedding_is_gated_and_classified(pooling):
    network = model(pooling=pooling)
    output = network.vit(faces())
    embedding = output.pooler_output if pooling == "pooler" else output.last_hidden_state[:, 0]
    expected = network.classifier(embedding * network.gate.gates(embedding))
    assert torch.allclose(network(faces()).logits, expected, atol=1e-6)
    assert (network.vit.pooler is not None) is (pooling == "pooler")


def test_faces_of_another_size_are_taken():
    assert model()(faces(size=48)).logits.shape == (2, len(CLASSES))


def test_every_part_learns():
    network = model(pooling="pooler").train()
    network(faces(), labels=torch.tensor([0, 2])).loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_auto_class_and_the_pipeline_of_transformers_use_it(tmp_path):
    network = model()
    network.save_pretrained(tmp_path)
    Preprocessing(32, (0.5,) * 3, (0.5,) * 3, face_crop={"size": 32}).save(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, ViTSEModel)
    assert torch.equal(loaded.eval()(faces()).logits, network(faces()).logits)

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    told = pipeline("image-classification", model=str(tmp_path), top_k=None, device="cpu")(Image.fromarray(pixels))
    ours = Classifier.load(tmp_path, "cpu").probabilities(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    assert {row["label"]: row["score"] for row in told} == pytest.approx(
        dict(zip(CLASSES, ours, strict=True)), abs=1e-5
    )


def test_a_vit_in_a_folder_is_started_from(tmp_path):
    vit = saved_vit(tmp_path)
    network = ViTSERecipe(backbone=str(tmp_path)).build(BuildContext(CLASSES, 32))
    assert torch.equal(network.vit.embeddings.position_embeddings, vit.embeddings.position_embeddings)
    assert network.vit.pooler is None
    assert network.config.id2label == dict(enumerate(CLASSES))
    pooled = ViTSERecipe(backbone=str(tmp_path), pooling="pooler").build(BuildContext(CLASSES, 32))
    assert torch.equal(pooled.vit.pooler.dense.weight, vit.pooler.dense.weight)


def test_without_its_weights_only_the_shape_of_a_folders_vit_is_taken(tmp_path):
    vit = saved_vit(tmp_path)
    network = ViTSERecipe(backbone=str(tmp_path), pretrained=False).build(BuildContext(CLASSES, 64))
    assert network.config.vit.hidden_size == 16
    assert network.config.vit.image_size == 64
    assert not torch.equal(network.vit.embeddings.cls_token, vit.embeddings.cls_token)


def test_a_run_of_our_own_is_started_from(tmp_path):
    network = model()
    network.save_pretrained(tmp_path)
    again = ViTSERecipe(backbone=str(tmp_path)).build(BuildContext(CLASSES, 32))
    assert torch.equal(again.vit.embeddings.position_embeddings, network.vit.embeddings.position_embeddings)


def test_a_pooler_that_was_never_trained_is_refused(tmp_path):
    ViTModel(ViTConfig(**SMALL), add_pooling_layer=False).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="lack pooler"):
        pretrained_vit(str(tmp_path), pooling="pooler")
    assert pretrained_vit(str(tmp_path), pooling="class-token").pooler is None


def test_the_small_one_needs_nothing_from_anywhere():
    network = ViTSERecipe(backbone=TINY_VIT).build(BuildContext(CLASSES, 32))
    assert sum(parameter.numel() for parameter in network.parameters()) < 1_000_000


def test_another_kind_of_network_is_refused_by_name(tmp_path):
    ResNetConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is a resnet model, not a ViT"):
        pretrained_vit(str(tmp_path), pooling="class-token")


def test_a_vit_that_cannot_be_had_says_what_to_type():
    with pytest.raises(ModelError) as caught:
        pretrained_vit(VIT_B16, pooling="class-token")
    assert VIT_B16 in caught.value.message
    for way in ("--no-pretrained", "--backbone tiny", "fer weights fetch"):
        assert way in caught.value.hint


def test_pooling_that_is_not_known_is_refused():
    with pytest.raises(ModelError, match="class-token, pooler"):
        model(pooling="mean")
