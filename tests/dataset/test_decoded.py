"""Decoded crops: kept in memory where they fit, else in a file next to the dataset, else decoded whenever asked for."""

import pickle
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from fer_cli.dataset import tensors
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.dataset.tensors import Crops, Faces, prefetched
from fer_cli.errors import DatasetError
from fer_cli.files import raising_disk_full
from tests.made import CLASSES

INDEX = {name: place for place, name in enumerate(CLASSES)}


@pytest.fixture
def large(made, monkeypatch) -> PreparedDataset:
    """The dataset, where memory has no room for its crops."""
    monkeypatch.setattr(tensors, "KEPT_BYTES", 1000)
    return made


def files(dataset: PreparedDataset) -> list[str]:
    return sorted(path.name for path in (dataset.path / "decoded").glob("*"))


def expected(dataset: PreparedDataset, size: int) -> torch.Tensor:
    crops = Crops(dataset.path)
    return torch.stack([functional.resize(crops[name], [size, size]) for name in dataset.metadata["file_name"]])


def test_crops_that_fit_into_memory_leave_no_file(made):
    crops = Crops.of(made, 32)
    assert crops.decoded_once
    name = made.metadata["file_name"][0]
    assert crops[name] is crops[name]
    assert not (made.path / "decoded").exists()


@pytest.mark.parametrize("size", [32, 20])
def test_others_are_in_one_file_that_numpy_maps(large, size):
    told = []
    crops = Crops.of(large, size, progress=lambda stage, done, total, /, **facts: told.append((stage, done, total)))
    assert crops.decoded_once
    [file] = files(large)
    table = np.load(large.path / "decoded" / file, mmap_mode="r")
    assert torch.equal(torch.from_numpy(np.array(table)), expected(large, size))
    names = large.metadata["file_name"].tolist()
    assert torch.equal(crops.batch(names), expected(large, size))
    assert torch.equal(crops.batch([names[3], names[0], names[3]]), expected(large, size)[[3, 0, 3]])
    assert torch.equal(crops[names[5]], expected(large, size)[5])
    assert told[-1] == ("decoding", 36, 36)


def test_it_is_made_once_and_anew_for_a_dataset_that_changed(large, monkeypatch):
    Crops.of(large, 32)
    [first] = files(large)

    def fail(*_):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(Crops, "_decode", fail)
        Crops.of(large, 32).batch(large.metadata["file_name"].tolist())
    metadata = (large.path / "metadata.csv").read_text().splitlines()
    (large.path / "metadata.csv").write_text("\n".join(metadata[:-1]) + "\n")
    changed = PreparedDataset.open(large.path)
    assert torch.equal(Crops.of(changed, 32).batch(changed.metadata["file_name"].tolist()), expected(changed, 32))
    [second] = files(large)
    assert first != second


@pytest.mark.parametrize("content", [b"", b"no table", "objects", "short", "other shape"])
def test_a_file_that_is_not_what_was_written_is_made_anew(large, content):
    Crops.of(large, 32)
    path = large.path / "decoded" / files(large)[0]
    if content == "objects":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif content == "other shape":
        np.save(path, np.zeros((36, 3, 32, 31), dtype=np.uint8))
    else:
        path.write_bytes(path.read_bytes()[:-10] if content == "short" else content)
    assert torch.equal(Crops.of(large, 32).batch(large.metadata["file_name"].tolist()), expected(large, 32))


def test_a_file_cut_short_while_it_is_read_is_named(large):
    crops = Crops.of(large, 32)
    path = large.path / "decoded" / files(large)[0]
    path.write_bytes(path.read_bytes()[:-10])
    names = large.metadata["file_name"].tolist()
    assert crops[names[0]].shape == (3, 32, 32)
    with pytest.raises(DatasetError, match="ends too early"):
        crops[names[-1]]


def test_without_room_on_the_disk_crops_are_decoded_each_time_and_that_is_said(large, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 2 * 36 * 3 * 32 * 32 - 1))
    notes = []
    crops = Crops.of(large, 32, progress=lambda *_, **facts: notes.append(facts.get("note")))
    assert not crops.decoded_once
    assert files(large) == []
    assert torch.equal(crops.batch(large.metadata["file_name"].tolist()), expected(large, 32))
    [note] = notes
    assert note.startswith("Crops are decoded anew in every epoch: decoded they would take")


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(large, monkeypatch):
    def full(crops, names, size, path, progress):
        path.write_bytes(b"half")
        with raising_disk_full(path.parent):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "_write_decoded", full)
    notes = []
    crops = Crops.of(large, 32, progress=lambda *_, **facts: notes.append(facts.get("note")))
    assert files(large) == []
    assert torch.equal(crops.batch(large.metadata["file_name"].tolist()), expected(large, 32))
    assert "cannot be written" in notes[0]


def test_a_crop_that_cannot_be_read_is_named_while_the_file_is_made(large):
    name = large.metadata["file_name"][7]
    (large.path / name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=f"{name} cannot be read"):
        Crops.of(large, 32)
    assert files(large) == []


@pytest.mark.parametrize("room", [0, tensors.KEPT_BYTES])
def test_faces_are_pickled_for_processes_that_load_without_what_memory_holds(made, room, monkeypatch):
    monkeypatch.setattr(tensors, "KEPT_BYTES", room)
    faces = Faces(made.samples(paired=True), Crops.of(made, 32), INDEX, paired=True)
    batch = faces.__getitems__(range(len(faces)))
    written = pickle.dumps(faces)
    assert len(written) < batch["pixel_values"].nbytes
    again = pickle.loads(written).__getitems__(range(len(faces)))  # noqa: S301
    assert all(torch.equal(again[name], values) for name, values in batch.items())


def test_a_batch_is_its_items(made):
    faces = Faces(made.samples(paired=True), Crops.of(made, 20), INDEX, paired=True, extra={"marks": torch.arange(27)})
    batch = faces.__getitems__([8, 2])
    assert batch["labels"].tolist() == [faces[8]["labels"], faces[2]["labels"]]
    for name in ("pixel_values", "neutral_pixel_values", "marks"):
        assert torch.equal(batch[name], torch.stack([faces[8][name], faces[2][name]]))


@pytest.mark.parametrize(("total", "sizes"), [(0, []), (1, [1]), (6, [3, 3]), (7, [3, 3, 1])])
def test_what_is_prefetched_comes_whole_and_in_order(total, sizes):
    parts = list(prefetched(list, total, 3))
    assert list(map(len, parts)) == sizes
    assert [place for part in parts for place in part] == list(range(total))


def test_what_goes_wrong_while_prefetching_is_raised_in_its_turn():
    def load(part: range) -> int:
        if part.start == 4:
            raise ValueError("no")
        return part.start

    found = prefetched(load, 8, 2)
    assert [next(found), next(found)] == [0, 2]
    with pytest.raises(ValueError, match="no"):
        next(found)
