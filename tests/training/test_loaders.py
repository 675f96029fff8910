"""Processes that load: how many, what they load, and what a person reads when one dies or a GPU is full."""

import dataclasses
import os
import sys

import pytest
import torch

from fer_cli.dataset import tensors
from fer_cli.dataset.tensors import Crops, Faces
from fer_cli.embeddings.embed import Embeddings
from fer_cli.embeddings.inputs import EmbeddedFaces
from fer_cli.errors import DatasetError, TrainingError, UsageError
from fer_cli.training import loaders
from fer_cli.training.fit import fit
from fer_cli.training.folder import identity_of, will_resume
from fer_cli.training.loaders import explaining_failures, workers_for
from fer_cli.training.recipes.difference import DifferenceRecipe
from fer_cli.training.trainer import FoldTrainer
from tests.made import CLASSES

INDEX = {name: place for place, name in enumerate(CLASSES)}
RECIPE = DifferenceRecipe(
    encoder="scratch", backbone="mobilenet_v3_small", batch_size=3, epochs=2, augment="light", logger=("none",)
)


def faces(made, *, decoded_once: bool) -> Faces:
    crops = Crops(made.path)
    crops.decoded_once = decoded_once
    return Faces(made.samples(paired=True), crops, INDEX, paired=True)


@pytest.mark.parametrize(("present", "expected"), [(1, 0), (2, 1), (4, 3), (64, 8)])
def test_auto_is_what_decoding_needs(made, monkeypatch, present, expected):
    monkeypatch.setattr(loaders, "cores", lambda: present)
    assert workers_for("auto", faces(made, decoded_once=False)) == expected
    assert workers_for("auto", faces(made, decoded_once=True)) == 0


def test_a_number_is_a_number_but_for_embeddings_which_are_in_memory(made):
    assert workers_for("3", faces(made, decoded_once=True)) == 3
    names = made.metadata["file_name"].tolist()
    embedded = EmbeddedFaces(made.samples(paired=True), Embeddings(names, torch.zeros(1, 36, 2)), INDEX, paired=True)
    assert workers_for("3", embedded) == 0


@pytest.mark.parametrize("workers", ["some", "-1", "1.5", ""])
def test_what_is_no_number_of_processes_is_refused(workers):
    with pytest.raises(UsageError, match="no number of processes"):
        dataclasses.replace(RECIPE, workers=workers)


@pytest.mark.skipif(sys.platform != "linux", reason="processes start slowly elsewhere")
def test_processes_that_load_change_no_number_and_a_resumed_training_equals_one_undisturbed(made, tmp_path):
    """From the disk's pictures: the augmentation is drawn by the training itself, whoever loads."""
    without = fit(RECIPE, made, tmp_path / "without", device="cpu")
    apart = dataclasses.replace(RECIPE, workers="2")
    with_two = fit(apart, made, tmp_path / "two", device="cpu")

    def stop(stage, done, total, /, **facts):
        if stage == "training" and done == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(apart, made, tmp_path / "resumed", device="cpu", progress=stop)
    resumed = fit(apart, made, tmp_path / "resumed", device="cpu")
    weights = [(run.path / "model.safetensors").read_bytes() for run in (without, with_two, resumed)]
    assert weights[0] == weights[1] == weights[2]


@pytest.mark.skipif(sys.platform != "linux", reason="processes start slowly elsewhere")
def test_a_process_that_dies_is_named_with_what_to_type(made, tmp_path, monkeypatch):
    main = os.getpid()
    load = Faces.__getitems__

    def die(self, indices):
        if os.getpid() != main:
            os._exit(9)
        return load(self, indices)

    monkeypatch.setattr(Faces, "__getitems__", die)
    with pytest.raises(TrainingError, match="A process that loads pictures died") as caught:
        fit(dataclasses.replace(RECIPE, workers="1"), made, tmp_path / "run", device="cpu")
    assert "--workers 0" in caught.value.hint
    assert "last whole epoch" in caught.value.hint
    monkeypatch.undo()
    assert fit(RECIPE, made, tmp_path / "run", device="cpu").card["best"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes start slowly elsewhere")
def test_a_crop_that_a_process_cannot_read_is_named_without_a_traceback(made, tmp_path, monkeypatch):
    monkeypatch.setattr(tensors, "KEPT_BYTES", 0)
    monkeypatch.setattr(tensors.DecodedCrops, "of", lambda *_, **__: None)
    name = made.split(0, paired=True)["train"]["file_name"].iloc[0]
    (made.path / name).write_bytes(b"no picture")
    with pytest.raises(DatasetError) as caught:
        fit(dataclasses.replace(RECIPE, workers="1"), made, tmp_path / "run", device="cpu")
    assert caught.value.message.startswith(f"The crop {made.path / name} cannot be read")
    assert "Traceback" not in caught.value.message
    assert "fer prepare" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "accumulate", "expected"),
    [(64, 1, "--batch-size 32 --accumulate 2,"), (6, 2, "--batch-size 3 --accumulate 4,"), (3, 1, "--size")],
)
def test_a_gpu_without_memory_is_told_the_half_that_fits(size, accumulate, expected):
    recipe = dataclasses.replace(RECIPE, batch_size=size, accumulate=accumulate)
    with pytest.raises(TrainingError, match=f"steps of {size}") as caught, explaining_failures(recipe):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert expected in caught.value.hint


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("shapes differ"), DatasetError("no such row"), ValueError("no")):
        with pytest.raises(type(error)) as caught, explaining_failures(RECIPE):
            raise error
        assert caught.value is error


def test_a_training_goes_on_in_half_the_batch_after_the_gpu_was_full(made, tmp_path, monkeypatch):
    """Six pairs a step, then twice three: the same steps, of which those of the first epoch are not done again."""
    recipe = dataclasses.replace(RECIPE, batch_size=6)
    step = FoldTrainer.training_step

    def full(self, *arguments, **settings):
        if self.state.global_step == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, *arguments, **settings)

    monkeypatch.setattr(FoldTrainer, "training_step", full)
    with pytest.raises(TrainingError, match="too little memory"):
        fit(recipe, made, tmp_path / "run", device="cpu")
    monkeypatch.undo()
    steps = []
    smaller = dataclasses.replace(recipe, batch_size=3, accumulate=2)

    def watch(stage, done, total, /, **facts):
        if stage == "training":
            steps.append((done, total))

    fit(smaller, made, tmp_path / "run", device="cpu", progress=watch)
    assert steps == [(3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("change", "resumes"),
    [
        ({"workers": "4"}, True),
        ({"batch_size": 1 + 2, "accumulate": 1}, True),
        ({"batch_size": 6}, False),
        ({"lr": 1e-4}, False),
        ({"mixup": 0.0, "erasing": 0.5}, False),
    ],
)
def test_what_decides_the_weights_decides_whether_a_training_is_resumed(made, tmp_path, change, resumes):
    from fer_cli.files import write_json

    write_json(tmp_path / "unfinished.json", identity_of(RECIPE, made))
    assert will_resume(identity_of(dataclasses.replace(RECIPE, **change), made), tmp_path) is resumes
