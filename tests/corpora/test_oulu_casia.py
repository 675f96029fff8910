from pathlib import Path

import pytest

from fer_cli.corpora.oulu_casia import OuluCasia
from fer_cli.errors import CorpusError

ROOT = "B_OriginalImg/B_OriginalImg/OriginalImg"


@pytest.fixture
def root(tmp_path):
    for light in ("Strong", "Dark"):
        for subject in ("P001", "P002"):
            for expression in ("Anger", "Happiness", "sad"):
                folder = tmp_path / ROOT / "VL" / light / subject / expression
                folder.mkdir(parents=True)
                for frame in reversed(range(11)):
                    (folder / f"{frame:03d}.jpeg").touch()
                (folder / "Thumbs.db").touch()
    return tmp_path


def read(root: Path, corpus: OuluCasia | None = None, **settings):
    corpus = corpus or OuluCasia()
    return corpus.read(corpus.locate(root), **settings)


def test_sequences_start_neutral_and_end_at_the_apex(root):
    reading = read(root)
    assert reading.found == {"sequences": 6}
    assert reading.skipped == []
    assert {(record.subject, record.label) for record in reading.records} == {
        (subject, label) for subject in ("P001", "P002") for label in ("anger", "happiness", "sadness")
    }
    for record in reading.records:
        assert [frame.path.name for frame in record.frames] == [f"{number:03d}.jpeg" for number in range(11)]
        assert "Strong" in record.frames[0].path.parts
        assert (record.neutral, record.apexes) == (0, (8, 9, 10))


def test_the_light_asked_for_is_read_and_named(root):
    dark = OuluCasia(light="dark")
    assert {record.frames[0].path.parts[-4] for record in read(root, dark).records} == {"Dark"}
    assert dark.title_at(root) == "Oulu-CASIA VL Dark"


def test_an_imaging_that_is_not_there_is_told_with_those_that_are(root):
    with pytest.raises(CorpusError) as caught:
        OuluCasia(imaging="ni").locate(root)
    assert "VL/Dark, VL/Strong" in caught.value.message


def test_what_is_not_oulu_casia_is_refused_with_the_layout(tmp_path):
    with pytest.raises(CorpusError) as caught:
        OuluCasia().locate(tmp_path)
    assert "P001/Anger/000.jpeg" in caught.value.hint
    with pytest.raises(CorpusError, match="no folder"):
        OuluCasia().locate(tmp_path / "nowhere")


def test_anomalies_are_named_and_end_nothing(root):
    folder = root / ROOT / "VL/Strong/P001/Anger"
    (folder / "005.jpeg").unlink()
    (folder / "notes.txt").touch()
    for frame in range(1, 11):
        (root / ROOT / f"VL/Strong/P002/Anger/{frame:03d}.jpeg").unlink()
    reading = read(root)
    assert {entry.reason for entry in reading.skipped} == {
        "frames missing in the middle (the sequence is used)",
        "a file that is no frame of its sequence",
        "a sequence of fewer than two frames",
    }
    assert len(reading.records) == 5


def test_an_expression_that_is_none_is_an_error_that_names_the_folder(root):
    (root / ROOT / "VL/Strong/P001/Grin").mkdir()
    with pytest.raises(CorpusError, match="Grin"):
        read(root)


def test_a_name_that_only_looks_like_a_number_is_no_frame(root):
    (root / ROOT / "VL/Strong/P001/Anger/00².jpeg").touch()
    assert [Path(entry.path).name for entry in read(root).skipped] == ["00².jpeg"]
