"""MMI's sessions in their layout: XML, videos, and the course of action units."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fer_cli.corpora.layouts import COPY
from fer_cli.corpora.mmi import Mmi
from fer_cli.dataset.plan import Preparation
from fer_cli.dataset.prepare import prepare
from fer_cli.errors import CorpusError
from tests.videos import make_video, shades


def session(
    root: Path,
    number: int,
    clip: str,
    *,
    emotion: str | None = "4",
    view: str = "0",
    course: str | None = None,
    frames: list[np.ndarray] | None = None,
    order: bool = False,
) -> Path:
    """One session; ``order`` puts another tag before the emotion's."""
    folder = root / "Sessions" / str(number)
    folder.mkdir(parents=True)
    tags = [f'<Metatag Name="Emotion" Value="{emotion}"/>'] if emotion is not None else []
    tags.insert(0 if order else len(tags), '<Metatag Name="Laughter" Value="1"/>')
    (folder / "session.xml").write_text(
        f'<?xml version="1.0"?><session sessionId="{number}"><subject id="1"/>'
        f'<track trackId="1" filename="{clip}.avi" view="{view}">{"".join(tags)}</track></session>'
    )
    (folder / f"{clip}.xml").write_text('<?xml version="1.0"?><track><Metatag Name="Camera" Value="2"/></track>')
    make_video(folder / f"{clip}.avi", frames or shades(40))
    if course is not None:
        (folder / f"{clip}-oao_aucs.xml").write_text(f"<AUCS>{course}</AUCS>")
    return folder


def unit(number: int, *markers: tuple[int, int]) -> str:
    inside = "".join(f'<Marker Frame="{frame}" Type="{kind}"/>' for frame, kind in markers)
    return f'<ActionUnit Number="{number}">{inside}</ActionUnit>'


def read(root: Path, **settings):
    return Mmi().read(Mmi().locate(root), **settings)


def frames(record) -> list[int]:
    return [frame.index for frame in record.frames]


def test_annotated_apexes_are_where_most_units_are_at_theirs(tmp_path):
    # Frames count from 1: unit 12 is at its apex in frames 16 to 30, unit 6 in 21 to 25.
    course = unit(12, (1, 0), (6, 1), (16, 2), (31, 3)) + unit(6, (1, 0), (8, 1), (21, 2), (26, 3))
    session(tmp_path, 1841, "S035-004", course=course)
    [record] = read(tmp_path).records
    assert (record.subject, record.label, record.apex_source) == ("S035", "happiness", "annotated")
    assert frames(record) == [0, 21, 22, 23]
    assert (record.neutral, record.apexes) == (0, (1, 2, 3))
    assert "1841" in record.sequence


def test_without_a_course_the_apex_is_assumed_about_the_middle(tmp_path):
    session(tmp_path, 7, "S001-002")
    [record] = read(tmp_path).records
    assert frames(record) == [0, 19, 20, 21]
    assert record.apex_source == "assumed"
    [record] = read(tmp_path, apex_frames=1).records
    assert frames(record) == [0, 20]


def test_the_emotion_is_selected_by_its_name_not_its_place(tmp_path):
    session(tmp_path, 1, "S001-001", emotion="6", order=True)
    session(tmp_path, 2, "S001-002", emotion="6", order=False)
    assert [record.label for record in read(tmp_path).records] == ["surprise", "surprise"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"emotion": "9"}, "emotion 9 is none of the six"),
        ({"emotion": "7"}, "emotion 7 is none of the six"),
        ({"emotion": "x"}, "emotion -1 is none of the six"),
        ({"emotion": "²"}, "emotion -1 is none of the six"),
        ({"emotion": "٤"}, "emotion -1 is none of the six"),
        ({"emotion": "9" * 5_000}, "emotion -1 is none of the six"),
        ({"emotion": None}, "no emotion label"),
        ({"view": "1"}, "seen in profile only"),
    ],
)
def test_what_the_protocol_does_not_want_is_skipped_and_counted(tmp_path, settings, reason):
    session(tmp_path, 1, "S001-001", **settings)
    reading = read(tmp_path)
    assert reading.records == []
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [(reason, False)]


def test_what_no_rule_of_mmi_explains_is_told(tmp_path):
    folder = session(tmp_path, 1, "S001-001")
    for name in ("S001-001.jpg", "S001-001.wmv", "notes.txt", "Thumbs.db"):
        (folder / name).touch()
    (tmp_path / "S009-001.avi").touch()
    assert {(Path(entry.path).name, entry.reason, entry.fault) for entry in read(tmp_path).skipped} == {
        ("S001-001.jpg", "a still, not a video", False),
        ("S001-001.wmv", "a name that MMI does not use", True),
        ("notes.txt", "neither a picture nor a video", False),
        ("S009-001.avi", "a clip without its session.xml", True),
    }


def test_case_31_two_copies_of_a_session_count_once(tmp_path):
    session(tmp_path / "one", 1, "S001-001")
    alone = read(tmp_path)
    session(tmp_path / "two", 1, "S001-001")
    reading = read(tmp_path)
    assert reading.records == alone.records
    assert reading.found == alone.found
    assert [(Path(entry.path).name, entry.reason) for entry in reading.skipped] == [("S001-001.avi", COPY)]


def test_views_of_both_sides_are_told_and_every_clip_may_lie_on_its_side(tmp_path):
    session(tmp_path, 1, "S001-001", view="0")
    session(tmp_path, 2, "S053-001", view="2")
    records = read(tmp_path).records
    assert [record.frames[0].halves for record in records] == [False, True]
    assert all(frame.turned for record in records for frame in record.frames)


def test_broken_files_are_named_and_end_nothing(tmp_path):
    good = session(tmp_path, 1, "S001-001")
    session(tmp_path, 2, "S002-001")
    (tmp_path / "Sessions/2/S002-001.avi").write_bytes(b"no video")
    session(tmp_path, 3, "S003-001")
    (tmp_path / "Sessions/3/session.xml").write_text("<session")
    (good / "S001-001-oao_aucs.xml").write_text("<AUCS")
    stills = tmp_path / "Sessions/4"
    stills.mkdir()
    (stills / "session.xml").write_text("<session/>")
    reading = read(tmp_path)
    assert [record.subject for record in reading.records] == ["S001"]
    assert {(Path(entry.path).name, entry.reason) for entry in reading.skipped} == {
        ("S002-001.avi", "a video that cannot be read"),
        ("session.xml", "an XML file that cannot be read"),
        ("S001-001-oao_aucs.xml", "an XML file that cannot be read"),
        ("4", "a session without a video"),
    }


GROWING = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
#: Each entity names the next: expat before 2.7 follows them on the stack until that ends (CVE-2024-8176).
DEEP = "".join(f"<!ENTITY e{n} '&e{n + 1};'>" for n in range(30_000)) + "<!ENTITY e30000 'ha'>"
TAG = '<Metatag Name="Emotion" Value="4"/>'


@pytest.mark.parametrize(
    "content",
    [
        f'<!DOCTYPE s [<!ENTITY e0 "ha">{GROWING}]><s><x>&e11;</x>{TAG}</s>',
        f"<!DOCTYPE s [{DEEP}]><s><x>&e0;</x>{TAG}</s>",
        f"<!DOCTYPE s [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><s><x>&e;</x>{TAG}</s>",
        f"<!DOCTYPE s [<!ENTITY % e SYSTEM 'file:///etc/passwd'> %e;]><s>{TAG}</s>",
        f'<?xml version="1.0" encoding="hex"?><s>{TAG}</s>',
        f'<?xml version="1.0" encoding="idna"?><s>{TAG}</s>',
        f'<?xml version="1.0" encoding="undefined"?><s>{TAG}</s>',
        f'<?xml version="1.0" encoding="gb18030"?><s>{TAG}</s>',
        f"<s>{TAG}",
        f"{TAG} {TAG}",
        "",
        " " * 1_000_001,
        b"\x00" * 100,
        b"\xff\xfe<\x00",
    ],
    ids=range(14),
)
def test_a_hostile_document_is_told_and_ends_nothing(tmp_path, content):
    session(tmp_path, 1, "S001-001")
    session(tmp_path, 2, "S002-001")
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "Sessions/1/session.xml").write_bytes(content)
    reading = read(tmp_path)
    assert [record.subject for record in reading.records] == ["S002"]
    [entry] = reading.skipped
    assert (entry.reason, entry.fault) == ("an XML file that cannot be read", True)


@pytest.mark.filterwarnings("error")
def test_a_document_of_any_depth_encoding_or_with_a_harmless_doctype_is_read(tmp_path):
    for number in (1, 2, 3):
        session(tmp_path, number, f"S00{number}-001")
    strange = f'<?xml version="1.0" encoding="unicode_escape"?><s>{TAG}\\]</s>'
    (tmp_path / "Sessions/3/session.xml").write_text(strange)
    deep = "<a>" * 100_000 + TAG + "</a>" * 100_000
    (tmp_path / "Sessions/1/session.xml").write_text(f"<s>{deep}</s>")
    (tmp_path / "Sessions/2/session.xml").write_text(f'<!DOCTYPE s SYSTEM "s.dtd"><s>{TAG}</s>', encoding="utf-16")
    assert [record.label for record in read(tmp_path).records] == ["happiness"] * 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_for_a_document_is_told_and_not_waited_for(tmp_path):
    session(tmp_path, 1, "S001-001")
    os.mkfifo(tmp_path / "Sessions/1/S001-001-oao_aucs.xml")
    (tmp_path / "Sessions/1/S001-001.xml").unlink()
    os.mkfifo(tmp_path / "Sessions/1/S001-001.xml")
    [record] = read(tmp_path).records
    assert record.apex_source == "assumed"


@pytest.mark.parametrize(
    ("markers", "apexes"),
    [
        ('<Marker Frame="²" Type="2"/><Marker Frame="11" Type="2"/>', [10]),
        ('<Marker Frame="٧" Type="2"/><Marker Frame="11" Type="2"/>', [10]),
        (f'<Marker Frame="{"9" * 5_000}" Type="2"/><Marker Frame="11" Type="2"/>', [10]),
        ('<Marker Frame="11"/><Marker Frame="11" Type="2"/>', [10]),
        ('<Marker Frame="11" Type="2"/><Marker Frame="999999999" Type="3"/>', [23, 24, 25]),
        ('<Marker Frame="999999999" Type="2"/>', None),
        ('<Marker Type="2"/><Marker Frame="-5" Type="2"/><Marker Frame="0" Type="2"/>', None),
        ("", None),
    ],
)
def test_hostile_numbers_of_frames_are_passed_over(tmp_path, markers, apexes):
    session(tmp_path, 1, "S001-001", course=f'<ActionUnit Number="12">{markers}</ActionUnit>')
    [record] = read(tmp_path).records
    assert record.apex_source == ("assumed" if apexes is None else "annotated")
    assert frames(record) == [0, *(apexes or [19, 20, 21])]


def test_a_course_of_thousands_of_markers_is_read(tmp_path):
    unit_of_all = unit(1, *((frame, 2) for frame in range(1, 20_000)))
    session(tmp_path, 1, "S001-001", course=unit_of_all + unit(2, (21, 2), (24, 3)))
    [record] = read(tmp_path).records
    assert frames(record) == [0, 20, 21, 22]


def test_what_is_not_mmi_is_refused_with_the_layout(tmp_path):
    with pytest.raises(CorpusError) as caught:
        Mmi().locate(tmp_path)
    assert "session.xml" in caught.value.hint


def test_sideways_and_double_pictures_come_out_upright_and_frontal(tmp_path, shared):
    """The drawn face is stored lying on its side, as most of MMI is; S053's is upright; one stands beside a wall."""
    import cv2

    from fer_cli.corpora.synthetic import Synthetic

    corpus = Synthetic(subjects=3, frames=4)
    corpus.make(tmp_path / "drawn")
    expected = {"S001": (90, "whole"), "S053": (0, "whole"), "S002": (90, "right")}
    for number, (name, (turn, part)) in enumerate(expected.items(), start=1):
        pictures = []
        for path in sorted((tmp_path / f"drawn/cohn-kanade-images/S00{number}/001").glob("*.png")):
            pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[:480]
            if part == "right":
                pixels = np.hstack([np.full_like(pixels, 90), pixels])
            pictures += [np.ascontiguousarray(np.rot90(pixels, turn // 90))] * 4
        for take, code in enumerate(("4", "5")):
            view = "2" if part != "whole" else "0"
            session(tmp_path / "mmi", 10 * number + take, f"{name}-00{take}", emotion=code, frames=pictures, view=view)
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    settings = Preparation(size=64, folds=3, classes="happiness,sadness", detector_model=model, jobs=1)
    prepared = prepare(Mmi(), tmp_path / "mmi", tmp_path / "out", settings)
    assert prepared.faults == 0
    assert prepared.card["counts"]["sequences"] == 6
    assert "apex assumed" in prepared.card["protocol"]["name"]
    ways = {}
    for line in (tmp_path / "out" / "faces.jsonl").read_text().splitlines():
        facts = json.loads(line)
        ways.setdefault(facts["file_name"].split("/")[1], set()).add((facts["turn"], facts["part"]))
    assert ways == {name: {way} for name, way in expected.items()}
