"""Properties that hold for any corpus, and what is said of a wrong root."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.corpora.base import Corpus, Frame, Reading, Sequence, Skipped, Still
from fer_cli.corpora.ckplus import CKPlus
from fer_cli.dataset.plan import Preparation, make_plan
from fer_cli.dataset.prepare import check
from fer_cli.errors import CorpusError, DatasetError
from fer_cli.labels import CLASS_SETS, EXPRESSIONS
from tests.corpora.ckplus_tree import golden_tree, sequence


@dataclass(frozen=True)
class Given(Corpus):
    """Records as they are given."""

    name: ClassVar[str] = "given"
    title: ClassVar[str] = "Given"
    records: tuple = ()
    skipped: tuple = ()

    def locate(self, root: Path) -> Path:
        return root

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        return Reading(list(self.records), list(self.skipped))


@st.composite
def corpora(draw) -> list[Sequence | Still]:
    """A random corpus in which every class of six is shown by three subjects or more."""
    records: list[Sequence | Still] = []
    for subject in [f"S{number:02d}" for number in range(draw(st.integers(3, 8)))]:
        for label in CLASS_SETS["6"]:
            length = draw(st.integers(2, 6))
            frames = tuple(Frame(Path(f"{subject}/{label}/{number}.png")) for number in range(length))
            apexes = tuple(range(max(1, length - 3), length))
            records.append(Sequence(subject, label, frames, label, 0, apexes, "last 3 frames"))
        for take in range(draw(st.integers(0, 2))):
            label = draw(st.sampled_from(EXPRESSIONS))
            records.append(Still(Frame(Path(f"{subject}/still-{take}.png")), label, subject))
    return records


@given(corpora(), st.sampled_from(["6", "7-neutral"]), st.integers(0, 2**32))
def test_whatever_the_corpus(records, classes, seed):
    import random

    settings = Preparation(classes=classes, folds=3)
    plan = make_plan(Given(tuple(records)), Path(), settings)
    subject_of = {sample.frame: sample.subject for sample in plan.samples}
    for sample in plan.samples:
        # A label of the class set, or a neutral face that others are compared with.
        assert sample.label in plan.protocol.classes or sample.role == "neutral"
        if sample.neutral is not None:
            assert sample.neutral != sample.frame
            assert subject_of[sample.neutral] == sample.subject
    # One fold a subject, however many crops come from it.
    assert set(plan.fold_of) == set(subject_of.values())
    assert set(plan.fold_of.values()) == {0, 1, 2}
    random.Random(seed).shuffle(records)
    assert make_plan(Given(tuple(records)), Path(), settings).fold_of == plan.fold_of


def test_strict_makes_any_anomaly_an_error_that_names_it():
    records = tuple(
        Sequence(
            f"S{n}", label, (Frame(Path(f"{n}{label}0")), Frame(Path(f"{n}{label}1"))), label, 0, (1,), "last frame"
        )
        for n in range(3)
        for label in ("anger", "fear")
    )
    by_rule = Given(records, (Skipped("a", "no emotion label", fault=False),))
    broken = Given(records, (Skipped("b.txt", "a label without pictures"),))
    settings = {"classes": "anger,fear", "folds": 3}
    make_plan(by_rule, Path(), Preparation(**settings, strict=True))
    make_plan(broken, Path(), Preparation(**settings))
    with pytest.raises(DatasetError, match=r"b\.txt: a label without pictures"):
        make_plan(broken, Path(), Preparation(**settings, strict=True))


@pytest.mark.parametrize("below", ["Emotion", "cohn-kanade-images", "cohn-kanade-images/S005"])
def test_a_root_too_low_is_told_the_folder_that_would_do(tmp_path, below):
    sequence(tmp_path / "CK+", "S005", "001", label="fear")
    with pytest.raises(CorpusError) as caught:
        make_plan(CKPlus(), tmp_path / "CK+" / below, Preparation())
    assert f"type the one that it belongs to, such as {tmp_path / 'CK+'}.\n" in caught.value.hint


def test_a_check_counts_against_what_the_owners_promise_and_writes_nothing(tmp_path):
    golden_tree(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    checked = check(CKPlus(), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert checked.as_promised
    assert checked.counts.loc["sequences"].tolist() == [593, 593]
    assert checked.counts.loc["subjects"].tolist() == [123, 123]
    assert checked.folds["sequences or stills"].tolist() == [33, 39, 40, 35, 30, 37, 29, 29, 33, 22]
    assert checked.classes.loc["surprise", "sequences or stills"] == 83
    assert checked.classes["pictures"].sum() == 981
    assert [(entry["reason"], entry["count"]) for entry in checked.skipped] == [("no emotion label", 266)]


def test_a_check_tells_what_is_missing(tmp_path):
    for subject in ("S001", "S002", "S003"):
        for number, label in enumerate(CLASS_SETS["7-contempt"]):
            sequence(tmp_path, subject, f"{number:03d}", label=label)
    checked = check(CKPlus(), tmp_path, Preparation(folds=3))
    assert not checked.as_promised
    assert checked.counts.loc["subjects"].tolist() == [3, 123]
