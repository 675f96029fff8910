"""What is drawn: pictures, videos, crops and timelines."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from fer_cli.faces.decode import MAX_PIXELS
from fer_cli.faces.video import frames_of
from fer_cli.labels import EXPRESSIONS
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult
from fer_cli.prediction.sinks.images import AnnotatedPictures, FaceCrops, SortedLinks, annotate, colour
from fer_cli.prediction.sinks.rows import Timeline
from tests.videos import make_video, set_matrix, shades

SHARES = {"happiness": 0.75, "anger": 0.25}
BOX = (100, 60, 80, 100)


def prediction(box=BOX, **settings) -> FacePrediction:
    return FacePrediction(0, SHARES, box=box, **settings)


def near(pixels: np.ndarray, text: str) -> np.ndarray:
    """Where the picture has the colour."""
    wanted = np.array([int(text[start : start + 2], 16) for start in (1, 3, 5)])
    return np.abs(pixels.astype(int) - wanted).max(axis=-1) < 40


def test_the_box_is_where_the_face_is_and_the_bars_are_as_long_as_the_probabilities():
    grey = np.full((240, 400, 3), 128, np.uint8)
    found = annotate(grey, [prediction()])
    assert (grey == 128).all()
    happy, angry = near(found, colour("happiness")), near(found, colour("anger"))
    for y, x in ((60, 140), (160, 140), (110, 100), (110, 180)):
        assert happy[y - 2 : y + 3, x - 2 : x + 3].any()
    assert not happy[80:140, 110:170].any()
    right = slice(190, None)
    bar_happy = happy[:, right].sum(axis=1)
    bar_angry = angry[:, right].sum(axis=1)
    assert bar_happy.max() == pytest.approx(3 * bar_angry.max(), rel=0.15)


@pytest.mark.parametrize("size", [(20, 20), (1, 500), (3000, 40), (240, 320)])
@pytest.mark.parametrize("box", [None, BOX, (-50, -50, 900, 900)])
def test_a_picture_of_any_size_can_be_drawn_on(size, box):
    assert annotate(np.zeros((*size, 3), np.uint8), [prediction(box)]).shape == (*size, 3)


def test_every_expression_has_a_colour_of_its_own():
    assert len({colour(name) for name in EXPRESSIONS}) == len(EXPRESSIONS)


def test_annotated_pictures_and_crops_have_safe_names_of_their_own(tmp_path):
    sinks = [AnnotatedPictures(tmp_path / "annotated", max_pixels=MAX_PIXELS), FaceCrops(tmp_path / "crops")]
    for index, name in enumerate(("x/=a b.png", "y/=a b.png")):
        path = tmp_path / name
        path.parent.mkdir()
        Image.new("RGB", (300, 200), "grey").save(path)
        crop = np.full((32, 32, 3), 100 * index, np.uint8)
        for sink in sinks:
            sink.write(FrameResult(Frame(index, path), (prediction(crop=crop),)))
    assert sorted(path.name for path in (tmp_path / "annotated").iterdir()) == ["000000-_a_b.jpg", "000001-_a_b.jpg"]
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == ["000000-_a_b-0.png", "000001-_a_b-0.png"]
    assert np.asarray(Image.open(tmp_path / "crops" / "000001-_a_b-0.png"))[0, 0].tolist() == [100, 100, 100]
    assert near(np.asarray(Image.open(tmp_path / "annotated" / "000000-_a_b.jpg")), colour("happiness")).any()


def results_of(path: Path, frames: list[int], index: int = 0) -> list[FrameResult]:
    results = [FrameResult(Frame(index, path, number=frame, time=frame / 25), (prediction(),)) for frame in frames]
    return [*results, FrameResult(Frame(index, path, end=True))]


def test_an_annotated_video_has_all_frames_and_shows_what_was_last_found(tmp_path):
    # Of odd sides, which its coding cannot have.
    path = make_video(tmp_path / "clip.mp4", [np.full((244, 322, 3), 128, np.uint8)] * 12)
    sink = AnnotatedPictures(tmp_path / "annotated", max_pixels=MAX_PIXELS)
    for result in results_of(path, [4, 8]):
        sink.write(result)
    frames = list(frames_of(tmp_path / "annotated" / "000000-clip.mp4"))
    assert [number for number, _, _ in frames] == list(range(12))
    assert [round(time, 2) for _, time, _ in frames] == [round(number / 25, 2) for number in range(12)]
    marked = [near(pixels, colour("happiness")).sum() > 200 for _, _, pixels in frames]
    assert marked == [False] * 4 + [True] * 8
    assert not list((tmp_path / "annotated").glob(".*"))
    with av.open(str(tmp_path / "annotated" / "000000-clip.mp4")) as container:
        assert container.streams.video[0].average_rate == 25


def test_case_01_a_video_on_its_side_is_drawn_upright_and_turned_once(tmp_path):
    upright = np.full((240, 320, 3), 60, np.uint8)
    upright[:80] = 200
    path = make_video(tmp_path / "phone.mp4", [np.ascontiguousarray(np.rot90(upright))] * 4)
    set_matrix(path, (0, 1, -1, 0))
    sink = AnnotatedPictures(tmp_path / "annotated", max_pixels=MAX_PIXELS)
    for result in results_of(path, [0]):
        sink.write(result)
    with av.open(str(tmp_path / "annotated" / "000000-phone.mp4")) as container:
        for frame in container.decode(video=0):
            assert frame.rotation == 0
            assert np.abs(frame.to_ndarray(format="rgb24")[::20, 300].astype(int) - upright[::20, 300]).max() < 12


def test_a_video_that_breaks_off_is_drawn_as_far_as_it_goes(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(40, (160, 120)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sink = AnnotatedPictures(tmp_path / "annotated", max_pixels=MAX_PIXELS)
    for result in results_of(path, [0]):
        sink.write(result)
    assert 5 < len(list(frames_of(tmp_path / "annotated" / "000000-clip.mp4"))) < 40


def test_a_timeline_has_a_picture_a_video(tmp_path):
    timeline = Timeline(tmp_path / "t.png")
    for result in [
        *results_of(Path("a $x$.mp4"), [0, 5, 10]),
        FrameResult(Frame(1, Path("b.png")), (prediction(),)),
        FrameResult(Frame(2, Path("none.mp4"), number=0, time=0.0)),
        FrameResult(Frame(2, Path("none.mp4"), end=True)),
        *results_of(Path("c.mp4"), [0], 3),
    ]:
        timeline.write(result)
    assert {path.name for path in tmp_path.iterdir()} == {"t.png", "t-2.png"}
    pixels = np.asarray(Image.open(tmp_path / "t.png").convert("RGB"))
    assert near(pixels, colour("happiness")).sum() > 100
    assert near(pixels, colour("anger")).sum() > 100


def test_a_timeline_has_a_panel_for_each_long_track(tmp_path, monkeypatch):
    drawn = []

    def savefig(figure: Figure, path: Path, **_) -> None:
        drawn[:] = [axes.get_title(loc="left") for axes in figure.axes]
        Path(path).touch()

    monkeypatch.setattr(Figure, "savefig", savefig)

    def panels(*seen: range) -> list[str]:
        """The panels of a video of 40 frames in which track number n is there in ``seen[n]``."""
        timeline = Timeline(tmp_path / "t.png")
        for number in range(40):
            tracks = [track for track, frames in enumerate(seen) if number in frames]
            faces = (FacePrediction(0, SHARES, track=track, person="Ann" * (track == 2)) for track in tracks)
            timeline.write(FrameResult(Frame(0, Path("a.mp4"), number=number, time=number / 4), tuple(faces)))
        timeline.write(FrameResult(Frame(0, Path("a.mp4"), end=True)))
        return drawn

    all_along = range(40)
    assert panels(all_along) == [""]
    assert panels(all_along, range(20, 40), all_along) == ["track 0", "track 1", "Ann"]
    # One that is there for a moment has none, nor has a fifth.
    assert panels(all_along, range(2), all_along) == ["track 0", "Ann"]
    assert panels(*[range(9)] * 2, *[all_along] * 4) == ["Ann", "track 3", "track 4", "track 5"]
    # Nobody is there for long.
    assert panels(*(range(2 * track, 2 * track + 2) for track in range(20))) == ["track 0"]


@pytest.mark.parametrize("who", [{"track": 12}, {"person": "Anna \udce9"}, {"track": 3, "person": "Ben"}])
def test_an_annotated_face_says_its_track_or_person(who, monkeypatch):
    written = []
    original = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda *words, **rest: written.append(words[2]) or original(*words, **rest)
    )
    annotate(np.zeros((240, 400, 3), np.uint8), [prediction(**who)])
    assert written[0].startswith({12: "#12 ", 3: "Ben "}.get(who.get("track"), r"Anna \xe9 ") + "happiness")


def result(path: Path, *labels: str, frame: int | None = None) -> FrameResult:
    predictions = [FacePrediction(number, {label: 1.0}) for number, label in enumerate(labels)]
    return FrameResult(Frame(0, path, number=frame), tuple(predictions))


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "a" / "face.jpg"
    path.parent.mkdir()
    path.write_bytes(b"picture")
    return path


def links(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path.resolve() for path in sorted(folder.rglob("*.*"))}


def test_a_picture_is_linked_under_each_of_its_faces_expressions_once(picture, tmp_path):
    SortedLinks(tmp_path / "sorted").write(result(picture, "anger", "surprise", "anger"))
    assert links(tmp_path / "sorted") == {"anger/face.jpg": picture, "surprise/face.jpg": picture}


def test_nothing_is_overwritten_and_the_same_is_linked_once(picture, tmp_path):
    other = tmp_path / "b" / "face.jpg"
    other.parent.mkdir()
    other.write_bytes(b"another")
    (tmp_path / "sorted" / "anger").mkdir(parents=True)
    (tmp_path / "sorted" / "anger" / "face.jpg").write_text("precious")
    sink = SortedLinks(tmp_path / "sorted")
    for path in (picture, other, picture, other):
        sink.write(result(path, "anger"))
    found = links(tmp_path / "sorted")
    assert found.pop("anger/face.jpg").read_text() == "precious"
    assert found == {"anger/face-2.jpg": picture, "anger/face-3.jpg": other}


def test_frames_and_pictures_without_a_face_are_passed_over(picture, tmp_path):
    SortedLinks(tmp_path / "sorted").write(result(picture, "anger", frame=3))
    SortedLinks(tmp_path / "sorted").write(result(picture))
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize("links_possible", [True, False])
def test_where_there_are_no_symbolic_links_it_is_a_hard_link_or_a_copy(picture, tmp_path, monkeypatch, links_possible):
    def refused(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refused)
    if not links_possible:
        monkeypatch.setattr(os, "link", refused)
    sink = SortedLinks(tmp_path / "sorted")
    sink.write(result(picture, "anger"))
    sink.write(result(picture, "anger"))
    (found,) = (tmp_path / "sorted" / "anger").iterdir()
    assert found.read_bytes() == b"picture"
    assert not found.is_symlink()
    assert found.samefile(picture) == links_possible


def test_case_35_a_number_in_the_longest_name_takes_the_place_of_letters(tmp_path):
    name = "笑顔" * 41 + "笑.jpeg"
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(folder)
        SortedLinks(tmp_path / "sorted").write(result(tmp_path / folder / name, "anger"))
    found = links(tmp_path / "sorted")
    assert len(os.fsencode(name)) > 250
    assert {path.read_text() for path in found.values()} == {"a", "b"}
    assert all(name.endswith(".jpeg") for name in found)
