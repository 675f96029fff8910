import numpy as np
import onnx
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from fer_cli.errors import ModelError, UsageError
from fer_cli.models import FLIP, INT8_GRAPH, Classifier, Preprocessing
from fer_cli.models import onnx as runtime
from fer_cli.models.disentangled import DisentangledConfig, DisentangledModel
from fer_cli.models.hub import adopt
from fer_cli.models.loading import fingerprint
from fer_cli.models.onnx import Int8Classifier, Logits, OnnxClassifier, with_runtime, write_graph
from fer_cli.models.vit_se import ViTSEConfig, ViTSEModel, vit_config
from tests.made import made_model

LABELS = {"id2label": {0: "anger", 1: "fear"}, "label2id": {"anger": 0, "fear": 1}}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "onnx"


def classifier(kind: str) -> Classifier:
    if kind in ("both", "target"):
        model = made_model(features=kind)
    elif kind == "vit":
        model = ViTSEModel(ViTSEConfig(vit=vit_config("tiny", 64), **LABELS))
    else:
        model = DisentangledModel(DisentangledConfig("mobilenet_v3_small", identity="mobilenet_v3_small", **LABELS))
    return Classifier(model, Preprocessing(64), CPU)


def faces(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    pair = torch.randint(0, 256, (2, count, 3, 80, 80), dtype=torch.uint8, generator=chance)
    return pair[0], pair[1]


@pytest.mark.parametrize("kind", ["both", "target", "disentangled", "vit"])
@pytest.mark.parametrize("count", [1, 5])
def test_probabilities_are_torchs_within_a_ten_thousandth(kind, count):
    torch_one = classifier(kind)
    onnx_one, about = with_runtime(torch_one, "onnxruntime")
    assert isinstance(onnx_one, OnnxClassifier)
    assert about.startswith("onnxruntime")
    assert onnx_one.classes == torch_one.classes
    crops, neutrals = faces(count)
    given = (crops, neutrals if torch_one.paired else None)
    assert np.abs(onnx_one.probabilities(*given) - torch_one.probabilities(*given)).max() < 1e-4


def test_a_network_that_resizes_its_pictures_and_somebody_elses(capfd):
    published = DisentangledModel(DisentangledConfig("mobilenet_v3_small", identity="vggface2", **LABELS))
    assert not runtime.Logits(published).traceable
    small = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    theirs = Classifier(adopt(ResNetForImageClassification(ResNetConfig(**small, **LABELS))), Preprocessing(64), CPU)
    found, about = with_runtime(theirs, "auto")
    assert isinstance(found, OnnxClassifier), about
    crops, _ = faces(5)
    assert np.abs(found.probabilities(crops) - theirs.probabilities(crops)).max() < 1e-4
    assert capfd.readouterr() == ("", "")


def test_the_graph_is_really_run(monkeypatch):
    torch_one = classifier("both")
    onnx_one, _ = with_runtime(torch_one, "onnxruntime")
    crops, neutrals = faces(2)
    expected = onnx_one.probabilities(crops, neutrals)
    monkeypatch.setattr(torch_one.model.encoder, "forward", lambda _: 1 / 0)
    assert np.array_equal(onnx_one.probabilities(crops, neutrals), expected)


def test_neutral_faces_may_be_given_as_embeddings():
    onnx_one, _ = with_runtime(classifier("both"), "auto")
    crops, neutrals = faces(3)
    embedded = onnx_one.probabilities(crops, neutral_embeddings=onnx_one.embed(neutrals))
    assert np.allclose(embedded, onnx_one.probabilities(crops, neutrals), atol=1e-6)


def test_auto_is_onnx_runtime_for_convolutions_and_torch_for_transformers(cache):
    assert isinstance(with_runtime(classifier("both"), "auto")[0], OnnxClassifier)
    assert with_runtime(classifier("vit"), "auto")[1] == "torch"
    assert not isinstance(with_runtime(classifier("both"), "torch")[0], OnnxClassifier)


def test_a_graph_is_written_once_and_found_by_the_network(cache, monkeypatch):
    first = with_runtime(classifier("both"), "auto")[1]
    assert "exported" in first
    [written] = cache.iterdir()
    onnx.checker.check_model(str(written), full_check=True)
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "write_graph", lambda *_, **__: 1 / 0)
        assert with_runtime(classifier("both"), "auto")[1] == f"onnxruntime ({written})"
    other = classifier("both")
    with torch.no_grad():
        next(other.model.encoder.parameters()).mul_(2)
    assert "exported" in with_runtime(other, "auto")[1]


def test_a_graph_cut_short_is_written_anew(cache):
    with_runtime(classifier("both"), "auto")
    [written] = cache.iterdir()
    written.write_bytes(written.read_bytes()[:1000])
    assert "exported" in with_runtime(classifier("both"), "auto")[1]


def test_what_cannot_be_exported_stays_with_torch_and_it_is_said(cache, monkeypatch):
    def fail(*_, **__):
        raise ModelError("torch cannot export this network to ONNX (a reason).")

    monkeypatch.setattr(runtime, "write_graph", fail)
    found, about = with_runtime(classifier("both"), "onnxruntime")
    assert not isinstance(found, OnnxClassifier)
    assert "a reason" in about


def test_a_graph_with_other_answers_is_not_used(cache, monkeypatch):
    write = runtime.write_graph

    def wrong(network, *arguments, **settings):
        write(torch.nn.Sequential(network, torch.nn.Hardtanh(-0.1, 0.1)), *arguments, **settings)

    monkeypatch.setattr(runtime, "write_graph", wrong)
    found, about = with_runtime(classifier("both"), "auto")
    assert not isinstance(found, OnnxClassifier)
    assert "off torch's" in about
    assert not list(cache.iterdir())


def int8_graph(folder, made: Classifier, **metadata) -> None:
    """What ``fer export --quantize`` writes, but in float32, so that torch's answers are its own."""
    network = Logits(made.model, made.temperature, made.tta)
    example = {"pixel_values": torch.randn(2, 3, 64, 64)}
    stored = {"fingerprint": fingerprint(made.model), **metadata}
    write_graph(network, example, "logits", folder / INT8_GRAPH, metadata=stored, trace=True)


@pytest.mark.parametrize("tta", ["none", FLIP])
def test_int8_takes_views_and_temperature_as_its_graph_has_them(tmp_path, tta):
    torch_one = classifier("target")
    torch_one.tta, torch_one.temperature = tta, 0.5
    int8_graph(tmp_path, torch_one)
    int8_one, about = with_runtime(torch_one, "int8", [tmp_path / "none", tmp_path])
    assert isinstance(int8_one, Int8Classifier)
    assert about == f"int8 ({tmp_path / INT8_GRAPH})"
    crops, _ = faces(5)
    assert np.abs(int8_one.probabilities(crops) - torch_one.probabilities(crops)).max() < 1e-4


def test_int8_is_taken_only_where_it_is_asked_for(tmp_path):
    torch_one = classifier("target")
    int8_graph(tmp_path, torch_one)
    assert isinstance(with_runtime(torch_one, "auto", [tmp_path])[0], OnnxClassifier)


def test_int8_needs_a_graph_of_this_model_of_single_faces(tmp_path):
    single = classifier("target")
    for folders in ([tmp_path], []):
        with pytest.raises(ModelError, match="--runtime int8: there is no") as caught:
            with_runtime(single, "int8", folders)
        assert "fer export" in caught.value.hint
    int8_graph(tmp_path, single, fingerprint="another")
    with pytest.raises(ModelError, match="other weights"):
        with_runtime(single, "int8", [tmp_path])
    with pytest.raises(UsageError, match="compares two"):
        with_runtime(classifier("both"), "int8", [tmp_path])
