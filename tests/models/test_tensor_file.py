import torch
from safetensors import safe_open

from fer_cli.models.loading import save_tensors

TENSORS = {"b": torch.arange(6.0).view(2, 3).T, "a": torch.tensor([1, 2])}
METADATA = {name: f'"{name}" \u00e4 \n\x1f/\x7f' for name in ("threshold", "subjects", "key", "names", "ä")}


def test_equal_tensors_and_metadata_have_equal_bytes(tmp_path):
    written = set()
    for number in range(20):
        told = METADATA if number % 2 else dict(reversed(METADATA.items()))
        save_tensors(TENSORS, tmp_path / "file.safetensors", told)
        written.add((tmp_path / "file.safetensors").read_bytes())
    assert len(written) == 1


def test_what_was_written_is_read_by_the_library(tmp_path):
    for told in (METADATA, None):
        save_tensors(TENSORS, tmp_path / "file.safetensors", told)
        with safe_open(tmp_path / "file.safetensors", framework="pt") as file:
            assert file.metadata() == told
            assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in TENSORS.items())
