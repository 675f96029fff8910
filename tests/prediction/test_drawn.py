"""What is drawn: pictures, videos, crops and timelines."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fer_cli.faces.decode import MAX_PIXELS
from fer_cli.faces.detect import Face
from fer_cli.faces.video import frames_of
from fer_cli.labels import EXPRESSIONS
from fer_cli.prediction.annotate import Annotate
from fer_cli.prediction.crops import Crops
from fer_cli.prediction.draw import colour, drawn
from fer_cli.prediction.outcomes import Outcome, Prediction
from fer_cli.prediction.shots import Shot
from fer_cli.prediction.timeline import Timeline
from tests.videos import make_video, set_matrix, shades

SHARES = {"happiness": 0.75, "anger": 0.25}
FACE = Face((100, 60, 80, 100), np.zeros((5, 2)), 0.9)


def prediction(path="a.png", face=FACE, shares=SHARES, **settings) -> Prediction:
    return Prediction(Path(path), 0, face, shares, **settings)


def near(pixels: np.ndarray, text: str) -> np.ndarray:
    """Where the picture has the colour."""
    wanted = np.array([int(text[start : start + 2], 16) for start in (1, 3, 5)])
    return np.abs(pixels.astype(int) - wanted).max(axis=-1) < 40


def test_the_box_is_where_the_face_is_and_the_bars_are_as_long_as_the_probabilities():
    grey = np.full((240, 400, 3), 128, np.uint8)
    found = drawn(grey, [prediction()])
    assert (grey == 128).all()
    happy, angry = near(found, colour("happiness")), near(found, colour("anger"))
    for y, x in ((60, 140), (160, 140), (110, 100), (110, 180)):
        assert happy[y - 2 : y + 3, x - 2 : x + 3].any()
    assert not happy[80:140, 110:170].any()
    beside = slice(190, None)
    bar_happy = happy[:, beside].sum(axis=1)
    bar_angry = angry[:, beside].sum(axis=1)
    assert bar_happy.max() == pytest.approx(3 * bar_angry.max(), rel=0.15)


@pytest.mark.parametrize("size", [(20, 20), (1, 500), (3000, 40), (240, 320)])
@pytest.mark.parametrize("face", [None, FACE, Face((-50, -50, 900, 900), np.zeros((5, 2)), 1)])
def test_a_picture_of_any_size_can_be_drawn_on(size, face):
    assert drawn(np.zeros((*size, 3), np.uint8), [prediction(face=face)]).shape == (*size, 3)


def test_every_expression_has_a_colour_of_its_own():
    assert len({colour(name) for name in EXPRESSIONS}) == len(EXPRESSIONS)


def test_annotated_pictures_and_crops_have_safe_names_of_their_own(tmp_path):
    sinks = [Annotate(tmp_path / "drawn", max_pixels=MAX_PIXELS), Crops(tmp_path / "crops")]
    for index, name in enumerate(("x/=a b.png", "y/=a b.png")):
        path = tmp_path / name
        path.parent.mkdir()
        Image.new("RGB", (300, 200), "grey").save(path)
        crop = np.full((32, 32, 3), 100 * index, np.uint8)
        for sink in sinks:
            sink.write(Outcome(Shot(index, path), (prediction(path, crop=crop),)))
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["000000-_a_b.jpg", "000001-_a_b.jpg"]
    assert sorted(path.name for path in (tmp_path / "crops").iterdir()) == ["000000-_a_b-0.png", "000001-_a_b-0.png"]
    assert np.asarray(Image.open(tmp_path / "crops" / "000001-_a_b-0.png"))[0, 0].tolist() == [100, 100, 100]
    assert near(np.asarray(Image.open(tmp_path / "drawn" / "000000-_a_b.jpg")), colour("happiness")).any()


def shots_of(path: Path, frames: list[int], index: int = 0) -> list[Outcome]:
    outcomes = [
        Outcome(Shot(index, path, frame=frame, time=frame / 25), (prediction(path, frame=frame, time=frame / 25),))
        for frame in frames
    ]
    return [*outcomes, Outcome(Shot(index, path, end=True))]


def test_an_annotated_video_has_all_frames_and_shows_what_was_last_found(tmp_path):
    # Of odd sides, which its coding cannot have.
    path = make_video(tmp_path / "clip.mp4", [np.full((244, 322, 3), 128, np.uint8)] * 12)
    sink = Annotate(tmp_path / "drawn", max_pixels=MAX_PIXELS)
    for outcome in shots_of(path, [4, 8]):
        sink.write(outcome)
    frames = list(frames_of(tmp_path / "drawn" / "000000-clip.mp4"))
    assert [number for number, _, _ in frames] == list(range(12))
    assert [round(time, 2) for _, time, _ in frames] == [round(number / 25, 2) for number in range(12)]
    marked = [near(pixels, colour("happiness")).sum() > 200 for _, _, pixels in frames]
    assert marked == [False] * 4 + [True] * 8
    assert not list((tmp_path / "drawn").glob(".*"))
    with av.open(str(tmp_path / "drawn" / "000000-clip.mp4")) as container:
        assert container.streams.video[0].average_rate == 25


def test_case_01_a_video_on_its_side_is_drawn_upright_and_turned_once(tmp_path):
    upright = np.full((240, 320, 3), 60, np.uint8)
    upright[:80] = 200
    path = make_video(tmp_path / "phone.mp4", [np.ascontiguousarray(np.rot90(upright))] * 4)
    set_matrix(path, (0, 1, -1, 0))
    sink = Annotate(tmp_path / "drawn", max_pixels=MAX_PIXELS)
    for outcome in shots_of(path, [0]):
        sink.write(outcome)
    with av.open(str(tmp_path / "drawn" / "000000-phone.mp4")) as container:
        for frame in container.decode(video=0):
            assert frame.rotation == 0
            assert np.abs(frame.to_ndarray(format="rgb24")[::20, 300].astype(int) - upright[::20, 300]).max() < 12


def test_a_video_that_breaks_off_is_drawn_as_far_as_it_goes(tmp_path):
    path = make_video(tmp_path / "clip.avi", shades(40, (160, 120)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    sink = Annotate(tmp_path / "drawn", max_pixels=MAX_PIXELS)
    for outcome in shots_of(path, [0]):
        sink.write(outcome)
    assert 5 < len(list(frames_of(tmp_path / "drawn" / "000000-clip.mp4"))) < 40


def test_a_timeline_has_a_picture_a_video(tmp_path):
    timeline = Timeline(tmp_path / "t.png")
    for outcome in [
        *shots_of(Path("a $x$.mp4"), [0, 5, 10]),
        Outcome(Shot(1, Path("b.png")), (prediction(),)),
        Outcome(Shot(2, Path("none.mp4"), frame=0, time=0.0)),
        Outcome(Shot(2, Path("none.mp4"), end=True)),
        *shots_of(Path("c.mp4"), [0], 3),
    ]:
        timeline.write(outcome)
    assert [path.name for path in timeline.written] == ["t.png", "t-2.png"]
    pixels = np.asarray(Image.open(tmp_path / "t.png").convert("RGB"))
    assert near(pixels, colour("happiness")).sum() > 100
    assert near(pixels, colour("anger")).sum() > 100
