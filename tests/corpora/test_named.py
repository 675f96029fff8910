"""Corpora whose files' names say who shows what, each on a small tree in its owners' layout."""

from collections import Counter
from pathlib import Path

import pytest

from fer_cli.corpora.base import Corpus
from fer_cli.corpora.bu3dfe import Bu3dfe
from fer_cli.corpora.jaffe import Jaffe
from fer_cli.corpora.kdef import Kdef
from fer_cli.corpora.layouts import COPY
from fer_cli.corpora.mug import Mug
from fer_cli.corpora.rafd import Rafd
from fer_cli.corpora.yale import Yale
from fer_cli.dataset.pairing import pair
from fer_cli.errors import CorpusError, UsageError

# corpus, its files, and what each shows: (subject, label), None where it is left out by rule.
LAYOUTS = [
    (
        Jaffe(),
        {
            "jaffe/KA.AN1.39.tiff": ("KA", "anger"),
            "jaffe/KA.NE1.26.tiff": ("KA", "neutral"),
            "jaffe/YM.SU3.60.tiff": ("YM", "surprise"),
            "jaffe/YM.DI1.1.tiff": ("YM", "disgust"),
            "jaffe/YM.FE2.2.tiff": ("YM", "fear"),
            "jaffe/YM.HA2.3.tiff": ("YM", "happiness"),
            "jaffe/YM.SA2.4.tiff": ("YM", "sadness"),
        },
    ),
    (
        Kdef(),
        {
            "KDEF/AF01/AF01ANS.JPG": ("F01", "anger"),
            "KDEF/BF01/BF01AFS.JPG": ("F01", "fear"),
            "KDEF/AM01/AM01NES.JPG": ("M01", "neutral"),
            "KDEF/AM01/AM01HAHL.JPG": None,
            "KDEF/AM01/AM01SUFR.JPG": None,
        },
    ),
    (
        Rafd(),
        {
            "Rafd090_01_Caucasian_female_angry_frontal.jpg": ("01", "anger"),
            "Rafd090_01_Caucasian_female_contemptuous_left.jpg": ("01", "contempt"),
            "Rafd090_73_Moroccan_male_neutral_frontal.jpg": ("73", "neutral"),
            "Rafd045_01_Caucasian_female_angry_frontal.jpg": None,
        },
    ),
    (
        Yale(),
        {
            "yalefaces/subject01.happy": ("01", "happiness"),
            "yalefaces/subject01.normal": ("01", "neutral"),
            "yalefaces/subject02.sad": ("02", "sadness"),
            "yalefaces/subject02.surprised": ("02", "surprise"),
            "yalefaces/subject02.wink": None,
            "yalefaces/subject02.centerlight": None,
        },
    ),
    (
        Mug(),
        {
            "manual/001_an_001_0001.jpg": ("001", "anger"),
            "manual/001_ne_001_0010.jpg": ("001", "neutral"),
            "manual/052_su_002_0033.jpg": ("052", "surprise"),
        },
    ),
    (
        Bu3dfe(lowest_level=3),
        {
            "F0001/F0001_AN03WH_F2D.bmp": ("F0001", "anger"),
            "F0001/F0001_AN02WH_F2D.bmp": None,
            "F0001/F0001_NE00WH_F2D.bmp": ("F0001", "neutral"),
            "M0044/M0044_SU04BL_F2D.bmp": ("M0044", "surprise"),
        },
    ),
]
IDS = [corpus.name for corpus, _ in LAYOUTS]


def made(root: Path, names) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes([number]))
    return root


@pytest.mark.parametrize(("corpus", "files"), LAYOUTS, ids=IDS)
def test_names_say_who_shows_what(corpus: Corpus, files, tmp_path):
    made(tmp_path, files)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "README.txt").touch()
    reading = corpus.read(corpus.locate(tmp_path))
    found = {
        still.frame.path.relative_to(tmp_path).as_posix(): (still.subject, still.label) for still in reading.records
    }
    assert found == {name: shown for name, shown in files.items() if shown}
    skipped = {Path(entry.path).relative_to(tmp_path).as_posix(): entry.fault for entry in reading.skipped}
    assert skipped == {"README.txt": False} | {name: False for name, shown in files.items() if not shown}
    assert reading.found == {"pictures": len(files)}


@pytest.mark.parametrize(("corpus", "files"), LAYOUTS, ids=IDS)
def test_a_folder_above_will_do_and_another_is_refused_with_the_layout(corpus, files, tmp_path):
    made(tmp_path / "corpora" / "it", files)
    assert corpus.read(corpus.locate(tmp_path / "corpora")).records
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError) as caught:
        corpus.locate(tmp_path / "empty")
    assert "it is empty" in caught.value.message
    assert corpus.layout in caught.value.hint
    with pytest.raises(CorpusError, match="no folder"):
        corpus.locate(tmp_path / "nowhere")


@pytest.mark.parametrize(("corpus", "files"), LAYOUTS, ids=IDS)
def test_a_picture_that_the_owners_did_not_name_is_said(corpus, files, tmp_path):
    made(tmp_path, files)
    strange = ("holiday.jpg", "HOLIDAY.HEIC", "clip.mp4", "raw.cr2", "what.xyz", "without_an_ending")
    for name in strange:
        (tmp_path / name).touch()
    faults = [entry for entry in corpus.read(tmp_path).skipped if entry.fault]
    assert {Path(entry.path).name for entry in faults} == set(strange)
    assert {entry.reason for entry in faults} == {f"a name that {corpus.title} does not use"}


@pytest.mark.parametrize(("corpus", "files"), LAYOUTS, ids=IDS)
def test_case_31_two_copies_of_a_corpus_count_once(corpus, files, tmp_path):
    made(tmp_path / "one", files)
    alone = corpus.read(corpus.locate(tmp_path))
    made(tmp_path / "two" / "again", files)
    reading = corpus.read(corpus.locate(tmp_path))
    assert reading.records == alone.records
    assert reading.found == alone.found
    copies = [entry for entry in reading.skipped if entry not in alone.skipped]
    assert len(copies) == len(files)
    assert {(entry.reason, entry.fault) for entry in copies} == {(COPY, False)}


@pytest.mark.parametrize(
    ("corpus", "name"),
    [(Jaffe(), "KA.XX1.39.tiff"), (Kdef(), "AF01XXS.JPG"), (Mug(), "001_xx_001_0001.jpg"), (Yale(), "subject01.grin")],
)
def test_a_code_that_the_owners_do_not_use_is_an_error_that_names_the_file(corpus, name, tmp_path):
    made(tmp_path, [name])
    with pytest.raises(CorpusError) as caught:
        corpus.read(tmp_path)
    assert name in caught.value.message


def test_kdefs_two_misnamed_files_are_named(tmp_path):
    made(tmp_path, ["AF31/AF31V.JPG", "AM31/AM31H.JPG", "AF31/AF31NES.JPG"])
    reading = Kdef().read(tmp_path)
    assert len(reading.records) == 1
    assert sorted(Path(entry.path).name for entry in reading.skipped) == ["AF31V.JPG", "AM31H.JPG"]
    assert all(entry.fault for entry in reading.skipped)


def test_kdefs_two_sessions_are_one_person_and_angles_have_a_neutral_each(tmp_path):
    names = [f"{session}F01{code}{angle}.JPG" for session in "AB" for code in ("NE", "HA") for angle in ("S", "HL")]
    made(tmp_path, names)
    samples = pair(Kdef(angles=("S", "HL")).read(tmp_path).records, ("happiness", "surprise")).samples
    pairs = {(sample.frame.path.name, sample.neutral.path.name) for sample in samples if sample.role == "apex"}
    assert pairs == {
        ("AF01HAS.JPG", "AF01NES.JPG"),
        ("AF01HAHL.JPG", "AF01NEHL.JPG"),
        ("BF01HAS.JPG", "BF01NES.JPG"),
        ("BF01HAHL.JPG", "BF01NEHL.JPG"),
    }


def test_case_11_the_owners_centerlight_is_called_gif_and_some_copies_have_endings(tmp_path):
    made(tmp_path, ["subject01.gif", "subject01.happy", "subject01.happy.gif", "subject01.normal.GIF"])
    reading = Yale().read(Yale().locate(tmp_path))
    assert Counter(still.label for still in reading.records) == {"happiness": 1, "neutral": 1}
    assert {Path(entry.path).name: (entry.reason, entry.fault) for entry in reading.skipped} == {
        "subject01.gif": ("centerlight is not in the vocabulary", False),
        "subject01.happy.gif": (COPY, False),
    }
    assert reading.found == {"pictures": 3}


def test_yales_copy_of_a_neutral_picture_is_skipped(tmp_path):
    made(tmp_path, ["subject04.normal", "subject04.happy"])
    (tmp_path / "subject04.sad").write_bytes((tmp_path / "subject04.normal").read_bytes())
    reading = Yale().read(tmp_path)
    assert Counter(still.label for still in reading.records) == {"neutral": 1, "happiness": 1}
    assert [entry.reason for entry in reading.skipped] == ["a copy of the same subject's neutral picture"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Kdef(angles=("X",)),
        lambda: Kdef(angles=()),
        lambda: Rafd(angles=("91",)),
        lambda: Bu3dfe(lowest_level=5),
    ],
)
def test_settings_that_cannot_be_meant_are_typing_errors(make):
    with pytest.raises(UsageError):
        make()
