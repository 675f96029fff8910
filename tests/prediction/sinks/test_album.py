"""The page of an album: what it says, what it shows, and that nothing on it runs."""

import base64
import hashlib
import re
import weakref
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_cli.errors import FerError, UsageError
from fer_cli.prediction.checkpoint import Checkpoint
from fer_cli.prediction.neutral.given import GivenNeutral
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Skipped
from fer_cli.prediction.run import check, run
from fer_cli.prediction.sinks import album
from fer_cli.prediction.sinks.album import AlbumPage, FaceSelection
from fer_cli.prediction.sinks.thumbnails import SIDE, Thumbnails
from fer_cli.prediction.sinks.timelines import MOST_POINTS, Peaks, Track, drawn
from tests.evaluation.report.conftest import Page
from tests.prediction.made import made_pictures
from tests.videos import make_video, shades

CLASSES = ("neutral", "anger", "happiness")
HOSTILE = "</script></style><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


def face(label: str, share: float, number: int = 0, shade: int = 0, **settings) -> FacePrediction:
    """A face of this label, with a crop of one shade of grey."""
    others = [name for name in CLASSES if name != label]
    shares = {label: share, others[0]: (1 - share) * 0.75, others[1]: (1 - share) * 0.25}
    crop = np.full((128, 128, 3), shade, np.uint8)
    return FacePrediction(number, {name: shares[name] for name in CLASSES}, crop=crop, **settings)


def picture(index: int, name: str, *faces: FacePrediction, skipped: tuple[Skipped, ...] = ()) -> FrameResult:
    return FrameResult(Frame(index, Path(name)), faces, skipped)


def video(index: int, name: str, *frames: tuple[FacePrediction, ...]) -> list[FrameResult]:
    found = [
        FrameResult(Frame(index, Path(name), number=number, time=number / 10), faces)
        for number, faces in enumerate(frames)
    ]
    return [*found, FrameResult(Frame(index, Path(name), end=True))]


def write(folder: Path, results: list[FrameResult], **settings) -> Page:
    """The page of these results, taken apart."""
    thumbnails = Thumbnails(None)
    made = AlbumPage(folder / "album.html", thumbnails, **{"classes": CLASSES, "names": ["album"], **settings})
    with thumbnails, made:
        for result in results:
            thumbnails.write(result)
            made.write(result)
    return Page((folder / "album.html").read_text(encoding="utf-8"))


def opened(address: str) -> Image.Image:
    kind, _, code = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(BytesIO(base64.b64decode(code)))


def cards(page: Page) -> list[str]:
    return page.classed("card")


ALBUM = [
    picture(0, "a/rest.jpg", face("neutral", 0.9, shade=40, neutral="mean", person="Anna")),
    picture(1, "a/party.jpg", face("happiness", 0.8, neutral="a/rest.jpg", neutral_confidence=0.9, person="Anna")),
    picture(
        2,
        "a/group.jpg",
        face("happiness", 0.6, person="Anna", person_confidence=0.7, neutral="a/rest.jpg"),
        face("anger", 0.5, 1, neutral="elsewhere/rest.jpg"),
    ),
    picture(3, "a/empty.jpg", skipped=(Skipped("empty file"),)),
    picture(4, "a/none.jpg", skipped=(Skipped("no face found"), Skipped("first of 3 taken", fault=False))),
]


def test_faces_stand_by_person_and_expression_the_least_certain_first(tmp_path):
    page = write(tmp_path, ALBUM)
    headings = [text for _, _, text in page.all("h3", "h4")]
    assert headings == ["Anna 3 faces", "neutral 1 face", "happiness 2 faces", "Not recognised 1 face", "anger 1 face"]
    assert [card.split("compared with ")[1].split(" ")[:2] for card in cards(page)] == [
        ["neutral", "90%"],
        ["happiness", "60%"],
        ["happiness", "80%"],
        ["anger", "50%"],
    ]
    assert "Anna, 70% sure" in cards(page)[1]
    assert "group.jpg, face 1" in cards(page)[3]


def test_a_page_keeps_no_pixels_of_the_faces_until_it_is_written(tmp_path):
    made = AlbumPage(tmp_path / "album.html", Thumbnails(None), classes=CLASSES, names=["album"])
    results = [picture(0, "a.jpg", face("anger", 0.9)), *video(1, "clip.mp4", (face("anger", 0.9, track=0),))]
    crops = [weakref.ref(each.crop) for result in results for each in result.faces]
    while results:
        made.write(results.pop(0))
    assert [crop() for crop in crops] == [None, None]


def test_without_people_the_groups_are_expressions(tmp_path):
    page = write(tmp_path, [picture(n, f"{n}.jpg", face(name, 0.7)) for n, name in enumerate(CLASSES)])
    assert not page.all("h3")
    assert [text for _, _, text in page.all("h4")] == [f"{name} 1 face" for name in CLASSES]
    assert [attributes["id"] for _, attributes, _ in page.all("select")] == ["sort", "group", "expression"]
    assert "compared" not in " ".join(cards(page))


def test_a_face_is_next_to_what_it_was_compared_with(tmp_path):
    page = write(tmp_path, ALBUM)
    rest, first, party, other = cards(page)
    assert "compared with the training’s average" in rest
    assert "compared with rest.jpg (90% neutral)" in party
    assert "compared with rest.jpg" in first
    # Where it is none of the faces there is its name.
    assert "no picture" in other
    assert "compared with elsewhere/rest.jpg" in other
    style = " ".join(page.text("style"))
    assert style.count("url(") == 1, "a neutral face is on the page once, however many are compared with it"
    name, address = re.search(r"\.(n\d) \{ background-image: url\(([^)]*)\)", style).groups()
    assert np.asarray(opened(address)).mean() == pytest.approx(40, abs=3)
    boxes = [attributes for _, attributes, _ in page.all("span") if name in attributes.get("class", "").split()]
    assert [box["aria-label"] for box in boxes] == ["The neutral face rest.jpg"] * 2
    facts = dict(zip(page.text("dt"), page.text("dd"), strict=True))
    assert facts["compared with"] == (
        "3 faces with a neutral picture, 1 with the training’s average neutral face (mean)"
    )


def test_the_summary_counts_and_says_what_was_skipped_and_why(tmp_path):
    page = write(tmp_path, ALBUM, about="faces: accuracy 85.6% of 3153 (fer2013)")
    rows = [text for _, _, text in page.all("tr")]
    assert {"happiness 2 50%", "neutral 1 25%", "anger 1 25%", "Anna 3 happiness 2, neutral 1"} <= set(rows)
    assert {"skipped 1 empty file empty.jpg", "note 1 first of 3 taken none.jpg"} <= set(rows)
    facts = dict(zip(page.text("dt"), page.text("dd"), strict=True))
    assert facts["model"] == "faces: accuracy 85.6% of 3153 (fer2013)"
    assert facts["skipped"] == "2, and why"
    assert page.classed("about") == ["4 faces in 3 of 5 pictures"]


def test_thumbnails_are_small_and_of_the_faces(tmp_path):
    page = write(tmp_path, [picture(n, f"{n}.jpg", face("anger", 0.5 + n / 10, shade=80 * n)) for n in range(3)])
    shown = [opened(attributes["src"]) for _, attributes, _ in page.all("img")]
    assert [each.size for each in shown] == [(SIDE, SIDE)] * 3
    assert [np.asarray(each).mean() for each in shown] == pytest.approx([0, 80, 160], abs=3)
    assert page.all("img")[1][1]["alt"] == "anger, 60%: 1.jpg"


def test_names_from_outside_are_text(tmp_path):
    results = [
        picture(0, f"a/{HOSTILE}.jpg", face("anger", 0.5, person=HOSTILE, neutral=f"b/{HOSTILE}.jpg")),
        picture(1, "a/\udcff\x00.jpg", face("anger", 0.5), skipped=(Skipped(HOSTILE),)),
        *video(2, f"{HOSTILE}.mp4", (face("anger", 0.5, person=HOSTILE, neutral=HOSTILE),)),
    ]
    classes = (*CLASSES, HOSTILE)
    page = write(tmp_path, results, classes=classes, names=[HOSTILE], about=HOSTILE)
    assert HOSTILE not in page.html
    assert page.text("script") == [" ".join((Path(album.__file__).parent / "album.js").read_text().split())]
    assert {attributes["src"][:11] for _, attributes, _ in page.all("img")} == {"data:image/"}
    assert not [name for _, attributes, _ in page.tags for name in attributes if name.startswith("on")]
    assert page.text("h1") == [HOSTILE]
    assert sum(HOSTILE in text for text in page.text("bdi")) >= 8
    assert f"a/{HOSTILE}.jpg" in cards(page)[0]
    assert "\\xff" in page.html


def test_only_its_own_script_runs_and_nothing_is_asked_for(tmp_path):
    page = write(tmp_path, ALBUM)
    policy = next(
        attributes["content"]
        for _, attributes, _ in page.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.search(r"<script>(.*)</script>", page.html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?:|//[a-z]|@import", re.sub(r"data:[^\"')]*", "", page.html).replace(script, ""))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|fetch\(|XMLHttp", script)


def test_what_belongs_together_is_named_and_every_picture_has_words(tmp_path):
    page = write(tmp_path, [*ALBUM, *video(5, "clip.mp4", (face("anger", 0.5),), (face("happiness", 0.9),))])
    ids = [attributes["id"] for _, attributes, _ in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in page.tags:
        assert set(attributes.get("aria-labelledby", "").split()) <= set(ids)
    assert {attributes["href"][1:] for _, attributes, _ in page.all("a")} <= set(ids)
    assert all(attributes["alt"] for _, attributes, _ in page.all("img"))
    assert all(attributes.get("aria-label") for _, attributes, _ in page.tags if attributes.get("role") == "img"
               and "aria-labelledby" not in attributes)  # fmt: skip
    assert page.all("a")[0][1] == {"class": "skip", "href": "#faces"}


def test_a_video_has_its_lines_and_pictures_where_each_expression_is_surest(tmp_path):
    shades_of = [("anger", 0.5, 10), ("anger", 0.8, 60), ("happiness", 0.9, 120), ("anger", 0.7, 200)]
    frames = [(face(label, share, shade=shade),) for label, share, shade in shades_of]
    page = write(tmp_path, video(0, "clips/clip.mp4", *frames[:2], (), *frames[2:]))
    peaks = [attributes["alt"] for _, attributes, _ in page.all("img")]
    assert peaks == ["anger, 80%, at 0.1 s", "happiness, 90%, at 0.3 s"]
    shown = [np.asarray(opened(attributes["src"])).mean() for _, attributes, _ in page.all("img")]
    assert shown == pytest.approx([60, 120], abs=3)
    # Each line is broken where there was no face.
    assert list(page.text("polyline")) == [name for name in CLASSES for _ in range(2)]
    assert "the largest face 4 frames, 0.0 to 0.4 s" in page.text("h4")
    assert not cards(page)


def test_tracks_have_timelines_of_their_own_the_longest_of_them_shown(tmp_path):
    frames = [
        tuple(face("anger", 0.6, track, track=track, person=f"P{track}") for track in range(12) if number >= track)
        for number in range(12)
    ]
    page = write(tmp_path, video(0, "clip.mp4", *frames))
    assert page.text("h4") == [
        f"P{track}, track {track} {12 - track} frames, {track / 10:.1f} to 1.1 s" for track in range(8)
    ]
    assert "And 4 shorter tracks." in page.text("p")


def test_a_long_track_is_drawn_by_its_most_certain_frames():
    track, generator = Track(0, CLASSES), np.random.default_rng(0)
    shares = generator.uniform(0.62, 0.9, 5000)
    shares[3456] = 0.99
    for number, share in enumerate(shares):
        track.add(number if number < 2500 else number + 100, number / 10, face("anger", share))
    timeline = track.timeline([])
    assert len(timeline.times) == MOST_POINTS
    assert 345.6 in timeline.times
    assert timeline.shares.max() == pytest.approx(0.99)
    assert timeline.gaps.sum() == 1
    assert timeline.step == pytest.approx(5000 / 10 / MOST_POINTS, rel=0.01)
    drawing = drawn(timeline, CLASSES)
    # Happiness never reaches a tenth.
    assert {line["label"]: len(line["parts"]) for line in drawing["lines"]} == {"neutral": 2, "anger": 2}
    assert all(len(part.split()) > 1 for line in drawing["lines"] for part in line["parts"])


def test_the_first_of_equals_is_the_peak_and_all_others_are_given_back():
    peaks, frames = Peaks(), [Frame(0, Path("v"), number=number, time=0.0) for number in range(4)]
    shares = [0.5, 0.7, 0.7, 0.6]
    back = [peaks.add(frame, face("anger", share)) for frame, share in zip(frames, shares, strict=True)]
    assert [None if each is None else each[0].number for each in back] == [None, 0, 2, 3]
    assert [frame.number for frame, _ in peaks.of(-1)] == [1]


def test_a_stored_profile_has_a_picture_and_another_one_for_the_face_that_it_is(tmp_path):
    name = "people:person-1 (2 pictures)"

    def profiles(neutral: str, own: str) -> np.ndarray | None:
        shade = 40 if own == "b.jpg" else 200
        return np.full((112, 112, 3), shade, np.uint8) if neutral == name else None

    results = [
        *(picture(number, f"{letter}.jpg", face("anger", 0.9, neutral=name)) for number, letter in enumerate("abc")),
        picture(3, "d.jpg", face("anger", 0.9, neutral="elsewhere.jpg")),
        *video(4, "v.mp4", (face("anger", 0.9, neutral=name),)),
    ]
    page = write(tmp_path, results, profiles=profiles)
    style = " ".join(page.text("style"))
    rules = re.findall(r"\.(n\d+) \{ background-image: url\(([^)]*)\)", style)
    shades = {name: round(np.asarray(opened(address)).mean()) for name, address in rules}
    boxes = [
        attributes["class"].split() for _, attributes, _ in page.all("span") if "neutral" in attributes.get("class", "")
    ]
    assert [shades[name] for _, name in boxes] == [200, 40, 200, 200]
    assert sorted(shades.values()) == [40, 200], "each picture is on the page once"
    assert "no picture" in cards(page)[3]


def test_of_a_video_only_peaks_and_neutral_faces_stay_stored(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_cli.prediction.sinks.thumbnails.PRUNED_EVERY", 3)
    thumbnails = Thumbnails(tmp_path)
    frames = [(face("anger", 0.9 - number / 100, neutral="v.mp4 frame 7"),) for number in range(20)]
    with thumbnails:
        for result in video(0, "v.mp4", *frames):
            thumbnails.write(result)
    with thumbnails.reading() as stored:
        kept = [number for number in range(20) if stored.of(Frame(0, Path("v.mp4"), number=number), 0)]
        assert kept == [0, 7]
        assert stored.named("v.mp4 frame 7") == stored.of(Frame(0, Path("v.mp4"), number=7), 0)


def test_what_a_killed_process_had_stored_is_there(tmp_path):
    killed = Thumbnails(tmp_path, 1).__enter__()
    killed.write(picture(0, "a.jpg", face("anger", 0.5)))
    with Thumbnails(tmp_path, 0) as other:
        other.write(picture(1, "b.jpg", face("anger", 0.5)))
    with Thumbnails(tmp_path).reading() as stored:
        assert stored.named("a.jpg")
        assert stored.named("b.jpg")
        assert stored.named("c.jpg") is None


def test_a_damaged_file_of_thumbnails_is_a_sentence(tmp_path):
    (tmp_path / "thumbnails-0.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(FerError, match=r"thumbnails of --report.*not a database"), Thumbnails(tmp_path):
        pass


def test_of_a_large_album_the_least_certain_and_each_expressions_surest_are_shown():
    generator = np.random.default_rng(0)
    shares = generator.uniform(0.5, 1, 1000)
    labels = [CLASSES[number % 3] for number in range(1000)]
    selection = FaceSelection(3, most=130, least=100)
    for number, (label, share) in enumerate(zip(labels, shares, strict=True)):
        selection.add(Frame(number, Path("x")), face(label, share))
    found = selection.faces()
    assert len(found) == 130
    order = np.argsort(shares)
    assert [each.number for each in found[:100]] == order[:100].tolist()
    surest = {each.number for each in found[100:]}
    assert surest == {
        int(number) for label in CLASSES for number in [n for n in order[100:] if labels[n] == label][-10:]
    }
    assert all(one.face.confidence <= other.face.confidence for one, other in pairwise(found))


def test_a_page_says_that_it_does_not_show_all(tmp_path, monkeypatch):
    monkeypatch.setattr(album, "FaceSelection", lambda classes: FaceSelection(classes, most=10, least=7))
    page = write(tmp_path, [picture(n, f"{n}.jpg", face("anger", 0.5 + n / 100)) for n in range(30)])
    assert len(cards(page)) == 8
    assert any("8 of 30 faces are shown: the 7 that" in text for text in page.text("p"))


def test_a_page_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(album, "MOST_BYTES", 4_000)
    page = write(tmp_path, [picture(n, f"{n}.jpg", face("anger", 0.5)) for n in range(30)])
    assert len(cards(page)) == 30
    assert 1 <= len(page.all("img")) < 30
    assert sum(len(attributes["src"]) for _, attributes, _ in page.all("img")) <= 4_000


def test_a_page_without_a_face_says_so(tmp_path):
    page = write(tmp_path, [])
    assert "There are none." in page.text("p")
    assert page.text("h1") == ["album"]


def test_nothing_is_written_where_the_prediction_fails(tmp_path):
    made = AlbumPage(tmp_path / "album.html", Thumbnails(None), classes=CLASSES, names=[])
    with pytest.raises(ValueError, match="midway"), made:
        raise ValueError("midway")
    assert not list(tmp_path.iterdir())


def predict_on(classifier, *names, progress=lambda *_, **__: None, finder=None, **settings):
    options = check(list(map(str, names)), PredictOptions(**settings))
    return run(list(map(str, names)), options, classifier, finder=finder, about="made", progress=progress)


@pytest.mark.parametrize("out", [None, "p.csv"])
def test_a_prediction_writes_it_with_a_table_and_without(alone, tmp_path, out):
    made_pictures(tmp_path / "in", 3)
    make_video(tmp_path / "in" / "clip.mp4", shades(5))
    predict_on(alone, tmp_path / "in", report=tmp_path / "a.html", out=out and tmp_path / out)
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert len(cards(page)) == 3
    assert len(page.all("img")) >= 4
    assert not page.classed("none")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "a.html"} | ({out, "p.timeline.png"} if out else set())


def test_a_page_is_not_overwritten_unasked(alone, faces, tmp_path):
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        predict_on(alone, *faces, report=tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == "mine"
    predict_on(alone, *faces, report=tmp_path / "a.html", overwrite=True)
    assert "made" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("place", ["folder", "/dev/null"])
def test_a_page_needs_a_file(faces, tmp_path, place):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is no file"):
        check([str(faces[0])], PredictOptions(report=tmp_path / place))


def test_a_resumed_prediction_gives_the_same_page(paired, faces, tmp_path):
    make_video(tmp_path / "faces" / "clip.mp4", shades(6))
    rest = made_pictures(tmp_path / "rest", 1)[0]

    def stop(stage: str, done: int, *_, **__):
        if stage == "predicting" and done >= 2:
            raise KeyboardInterrupt

    settings = {"report": tmp_path / "a.html", "out": tmp_path / "p.csv", "finder": GivenNeutral(rest)}
    with pytest.raises(KeyboardInterrupt):
        predict_on(paired, tmp_path / "faces", **settings, progress=stop)
    assert Checkpoint(tmp_path / "p.csv").exists
    assert not (tmp_path / "a.html").exists()
    # Its thumbnails are those of what is predicted with it.
    with pytest.raises(UsageError, match="report is not what"):
        predict_on(paired, tmp_path / "faces", out=tmp_path / "p.csv", resume=True, finder=settings["finder"])
    predict_on(paired, tmp_path / "faces", **settings, resume=True)
    resumed = (tmp_path / "a.html").read_bytes()
    predict_on(paired, tmp_path / "faces", **settings, overwrite=True)
    assert (tmp_path / "a.html").read_bytes() == resumed
    assert resumed.count(b"<img ") >= 4
