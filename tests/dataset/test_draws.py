"""Draws: other folds of the same crops, and fewer people to train on."""

import json
import os
import shutil

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_cli.dataset.draws import redraw
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import DatasetError
from tests.made import made_dataset, unnamed


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> PreparedDataset:
    return made_dataset(tmp_path_factory.mktemp("draws") / "made", subjects=12, folds=3)


def fold_of(dataset: PreparedDataset) -> dict[str, int]:
    return dict(zip(dataset.metadata["subject"], dataset.metadata["fold"], strict=True))


@settings(max_examples=12, deadline=None)
@given(folds=st.integers(3, 6), draw=st.integers(0, 50), seed=st.integers(0, 50))
def test_a_draw_has_every_subject_in_one_fold_and_every_class_in_each(original, tmp_path_factory, folds, draw, seed):
    drawn = redraw(original, tmp_path_factory.mktemp("drawn") / "made", folds=folds, draw=draw, seed=seed)
    assert fold_of(drawn).keys() == fold_of(original).keys()
    assert drawn.metadata.groupby("subject")["fold"].nunique().eq(1).all()
    for fold in range(folds):
        sides = drawn.split(fold, paired=True)
        people = [set(rows["subject"]) for rows in sides.values()]
        assert set().union(*people) == set(fold_of(original))
        assert sum(map(len, people)) == len(fold_of(original))
        assert all(rows["label"].nunique() == 3 for rows in sides.values())


@settings(max_examples=12, deadline=None)
@given(draw=st.integers(0, 50), fewer=st.integers(1, 4), more=st.integers(4, 4))
def test_fewer_training_subjects_are_among_the_more_and_the_tested_stay(original, tmp_path_factory, draw, fewer, more):
    out = tmp_path_factory.mktemp("drawn")
    whole = redraw(original, out / "whole", draw=draw)
    small, large = (redraw(original, out / str(count), draw=draw, subjects=count) for count in (fewer, more))
    trained = [set(each.split(0, paired=False)["train"]["subject"]) for each in (small, large, whole)]
    assert [len(names) for names in trained] == [fewer, more, 4]
    assert trained[0] <= trained[1] <= trained[2]
    for side in ("val", "test"):
        names = [each.split(0, paired=True)[side]["file_name"].tolist() for each in (small, whole)]
        assert names[0] == names[1]


def test_the_same_draw_gives_the_same_bytes_and_another_other_folds(original, tmp_path):
    one, again, other = (
        redraw(original, tmp_path / name / "made", draw=draw) for name, draw in (("a", 1), ("b", 1), ("c", 2))
    )
    for name in ("metadata.csv", "dataset.json"):
        assert (one.path / name).read_bytes() == (again.path / name).read_bytes()
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert fold_of(one) != fold_of(other)
    assert "draw 1" in one.protocol.name
    assert "draw" not in original.protocol.to_dict()


def test_the_first_draw_has_the_folds_of_the_dataset_and_its_crops_are_links(original, tmp_path):
    drawn = redraw(original, tmp_path / "made")
    assert fold_of(drawn) == fold_of(original)
    assert drawn.protocol == original.protocol
    name = drawn.metadata["file_name"].iloc[0]
    assert (drawn.path / name).samefile(original.path / name)
    assert drawn.original.path.resolve() == original.path.resolve()


def test_where_there_are_no_hard_links_the_crops_are_copied(original, tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links on this disk")

    monkeypatch.setattr(os, "link", refuse)
    drawn = redraw(original, tmp_path / "made", draw=1)
    name = drawn.metadata["file_name"].iloc[0]
    assert not (drawn.path / name).samefile(original.path / name)
    assert (drawn.path / name).read_bytes() == (original.path / name).read_bytes()


def test_a_draw_that_is_there_is_opened_and_another_in_its_place_refused(original, tmp_path):
    first = redraw(original, tmp_path / "made", draw=1)
    (first.path / "embeddings").mkdir()
    assert redraw(original, first.path, draw=1).fingerprint == first.fingerprint
    assert (first.path / "embeddings").is_dir()
    with pytest.raises(DatasetError, match="another draw"):
        redraw(original, first.path, draw=2)


def test_a_draw_that_was_interrupted_is_finished(original, tmp_path):
    whole = redraw(original, tmp_path / "made", draw=1)
    before = (whole.path / "dataset.json").read_bytes()
    (whole.path / "dataset.json").rename(whole.path / "unfinished.json")
    (whole.path / whole.metadata["file_name"].iloc[0]).unlink()
    assert redraw(original, tmp_path / "made", draw=1).fingerprint == whole.fingerprint
    assert (whole.path / "dataset.json").read_bytes() == before


def test_what_is_there_and_no_draw_is_left_alone(original, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="in the way"):
        redraw(original, tmp_path / "made", draw=1)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine.txt"]


def test_a_draw_of_a_draw_is_one_of_the_original(original, tmp_path):
    first = redraw(original, tmp_path / "one", draw=1)
    second = redraw(first, tmp_path / "two", draw=2)
    assert second.card["drawn_from"]["fingerprint"] == original.fingerprint


def test_more_people_than_there_are_and_people_who_are_not_named_are_refused(original, tmp_path):
    with pytest.raises(DatasetError, match="4 training subjects"):
        redraw(original, tmp_path / "many", subjects=5)
    with pytest.raises(DatasetError, match="fewer subjects than the 13 folds"):
        redraw(original, tmp_path / "folds", folds=13)
    nobody = unnamed(made_dataset(tmp_path / "nobody"), {"a": "train", "b": "test"})
    with pytest.raises(DatasetError, match="no folds to draw anew"):
        redraw(nobody, tmp_path / "drawn", draw=1)
    assert not (tmp_path / "drawn").exists()


def test_an_original_that_has_changed_or_gone_is_noticed(tmp_path):
    original = made_dataset(tmp_path / "made")
    drawn = redraw(original, tmp_path / "drawn", draw=1)
    rows = pd.read_csv(original.path / "metadata.csv", dtype="string")
    rows.iloc[::-1].to_csv(original.path / "metadata.csv", index=False)
    with pytest.raises(DatasetError, match="has changed since"):
        _ = PreparedDataset.open(drawn.path).original
    shutil.rmtree(original.path)
    with pytest.raises(DatasetError, match="no folder"):
        _ = PreparedDataset.open(drawn.path).original


def test_weights_that_name_the_original_are_known_in_a_draw(original, tmp_path):
    drawn = redraw(original, tmp_path / "made", draw=1)
    assert drawn.known_as(original.fingerprint).fingerprint == original.fingerprint
    assert drawn.known_as(drawn.fingerprint) is drawn
    assert drawn.known_as("another") is None
    assert original.known_as("another") is None


def test_a_card_that_says_what_it_is_drawn_from_wrongly_is_refused(original, tmp_path):
    drawn = redraw(original, tmp_path / "made", draw=1)
    card = json.loads((drawn.path / "dataset.json").read_text())
    card["drawn_from"] = ["a list"]
    (drawn.path / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(DatasetError, match="drawn_from"):
        PreparedDataset.open(drawn.path)
