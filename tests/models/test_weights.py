import hashlib
from pathlib import Path

import pytest
import torch

from fer_cli.errors import ModelError, UsageError
from fer_cli.models import weights as published
from fer_cli.models.weights import ALL, FETCHABLE, cache_folder, find


def test_all_say_what_they_are_for_where_they_come_from_and_their_licence():
    assert set(ALL) == {
        *("mobilenet_v3_large", "mobilenet_v3_small", "vit-base-patch16-224-in21k"),
        *("yunet", "sface", "vggface2", "faces", "faces-quick"),
    }
    for name, weights in ALL.items():
        assert weights.name == name
        assert weights.used_for
        assert weights.home
        assert "weights" in weights.licence
        assert "code" in weights.licence
    assert set(FETCHABLE) == set(ALL) - {"vggface2", "faces", "faces-quick"}


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FER_CACHE")
    assert cache_folder().name == "fer"


def test_imagenet_weights_go_where_torchvision_looks(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    content = b"weights"
    name = f"mobilenet_v3_small-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights = find("mobilenet_v3_small")
    monkeypatch.setattr(type(weights), "_url", lambda self: f"https://example.org/{name}")
    fetched = []

    def fetch(url: str, path: Path, *, sha256: str, progress) -> None:
        fetched.append(url)
        assert name == f"mobilenet_v3_small-{sha256}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(published, "download", fetch)
    assert weights.place() is None
    assert weights.fetch() == weights.place() == tmp_path / "checkpoints" / name
    weights.fetch()
    assert len(fetched) == 1
    # What was damaged since is fetched anew.
    weights.place().write_bytes(b"damaged")
    weights.fetch()
    assert len(fetched) == 2


def test_the_address_and_digest_are_torchvisions():
    assert find("mobilenet_v3_large")._url().endswith("/mobilenet_v3_large-5c1a4163.pth")


def test_hub_weights_of_a_wrong_checksum_are_refused(monkeypatch, tmp_path):
    import huggingface_hub

    (tmp_path / "model.safetensors").write_bytes(b"other")
    asked = []

    def given(repository: str, name: str, *, revision: str) -> str:
        asked.append((name, revision))
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", given)
    weights = find("vit-base-patch16-224-in21k")
    with pytest.raises(ModelError, match="checksum differs"):
        weights.fetch()
    assert {name for name, _ in asked} == {"model.safetensors", "config.json", "preprocessor_config.json"}
    assert {len(revision) for _, revision in asked} == {40}


def test_the_detectors_place_is_what_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FER_YUNET", str(tmp_path / "yunet.onnx"))
    assert find("yunet").place() is None
    with pytest.raises(ModelError, match="FER_YUNET"):
        find("yunet").fetch()
    (tmp_path / "yunet.onnx").touch()
    assert find("yunet").place() == find("yunet").fetch() == tmp_path / "yunet.onnx"


def test_a_name_that_is_none_is_told_the_names():
    with pytest.raises(UsageError) as caught:
        find("resnet50")
    assert "vggface2" in caught.value.hint
