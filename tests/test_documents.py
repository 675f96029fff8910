import os
import stat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fer_cli.documents import read_metadata, read_seen, write_metadata, write_seen

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(1, dtype=torch.int64), "none": torch.zeros(0, 3)}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5))
def test_metadata_are_added_and_tensors_stay(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("header") / "w.safetensors"
    save_file(TENSORS, path, {"format": "pt"})
    write_metadata(path, metadata)
    assert read_metadata(path) == {"format": "pt", **metadata}
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_equal_content_has_equal_bytes_whatever_the_order(tmp_path):
    entries = {f"entry{number}": str(number) for number in range(20)}
    files = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for path, names in zip(files, (list(entries), list(entries)[::-1]), strict=True):
        save_file(TENSORS, path, {name: entries[name] for name in names})
        write_metadata(path, {})
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_subjects_come_back(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    assert read_seen(tmp_path / "w.safetensors") is None
    seen = {"ckplus": ["S005", "S010"], "made": ["Å", '"']}
    write_seen(tmp_path / "w.safetensors", seen)
    assert read_seen(tmp_path / "w.safetensors") == seen


def test_case_17_the_file_has_the_umasks_mode(tmp_path):
    save_file(TENSORS, tmp_path / "w.safetensors")
    before = os.umask(0o027)
    try:
        write_metadata(tmp_path / "w.safetensors", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o640


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and so on", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 20])
def test_files_of_another_kind_have_no_metadata(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    assert read_metadata(tmp_path / "other") == {}
    with pytest.raises(ValueError, match=r"safetensors|Expecting"):
        write_metadata(tmp_path / "other", {"a": "b"})
