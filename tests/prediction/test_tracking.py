"""Tracks in made clips whose answers are known, and the smoothing along tracks."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_cli.faces.align import CropTemplate
from fer_cli.prediction.pipeline import FaceExtractor, extract_faces, predict
from fer_cli.prediction.results import FacePrediction, Frame, FrameResult
from fer_cli.prediction.sources import Reading, list_inputs, open_sources, read_frames
from fer_cli.prediction.tracking import REMEMBERED, hog_descriptors, smoothed, thumbnail, tracked
from fer_cli.synthetic.head import face_of, landmarks_in_pixels, paint
from fer_cli.synthetic.person import draw_identity, draw_performance
from tests.videos import make_video

CLIP = Path("clip.mp4")
RATE, SECONDS = 10, 6
WIDTH, HEIGHT = 640, 360
#: The part of a drawn picture that is a head, and how large it is shown.
HEAD, SCALE = np.s_[40:460, 130:510], 0.5
TEMPLATE = CropTemplate(64, 0.05)
ANNA, BEN, CARA = 0, 1, 5


@cache
def drawn(person: int, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """A head at ``amount`` of a smile, and five landmarks in it."""
    performance = draw_performance("happiness", np.random.default_rng([1, person]))
    face = face_of(draw_identity(np.random.default_rng([5, person])), performance, {}, amount)
    points = landmarks_in_pixels(face)
    five = np.array([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    pixels = paint(face, exposure=1, noise=2, rng=np.random.default_rng(person))[HEAD]
    corner = (HEAD[1].start, HEAD[0].start)
    return cv2.resize(pixels, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA), (five - corner) * SCALE


@cache
def scene(number: int) -> np.ndarray:
    """A background of soft spots."""
    spots = np.random.default_rng(number).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return cv2.resize(spots, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def picture(where: dict[int, float], time: float, background: int = 0) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """People with their heads' middles at x, the last in front, and their five landmarks."""
    pixels, landmarks = scene(background).copy(), {}
    for person, x in where.items():
        head, five = drawn(person, round(0.5 - 0.5 * np.cos(2 * time)))
        height, width = head.shape[:2]
        left = round(x - width / 2)
        inside = slice(max(0, left), min(WIDTH, left + width))
        if inside.stop > inside.start:
            pixels[60 : 60 + height, inside] = head[:, inside.start - left : inside.stop - left]
            landmarks[person] = five + np.array([left, 60])
    return pixels, landmarks


def faces_of(pixels: np.ndarray, landmarks: dict[int, np.ndarray]) -> list[tuple[int, FacePrediction]]:
    """What a detector finds: every face within the picture that another does not hide by half."""
    found = []
    people = list(landmarks)
    for place, (person, five) in enumerate(landmarks.items()):
        apart = np.linalg.norm(five[1] - five[0])
        middle = five[2]
        hidden = any(abs(landmarks[other][2][0] - middle[0]) < apart for other in people[place + 1 :])
        if hidden or not 30 < middle[0] < WIDTH - 30:
            continue
        box = (middle[0] - apart, middle[1] - 1.3 * apart, 2 * apart, 2.6 * apart)
        found.append((person, FacePrediction(0, box=box, crop=TEMPLATE.align(pixels, five))))
    return found


def follow(places: Callable[[float], dict[int, float]], background: Callable[[float], int] = lambda _: 0):
    """The tracks of each person, in the order of the frames, in a clip of :data:`SECONDS`."""
    results, people = [], []
    for number in range(RATE * SECONDS):
        time = number / RATE
        pixels, landmarks = picture(places(time), time, background(time))
        found = faces_of(pixels, landmarks)
        people.append([person for person, _ in found])
        faces = tuple(replace(face, number=place) for place, (_, face) in enumerate(found))
        results.append(FrameResult(Frame(0, CLIP, number=number, time=time, thumbnail=thumbnail(pixels)), faces))
    tracks: dict[int, list[int]] = {}
    for result, names in zip(tracked(results), people, strict=True):
        for face, person in zip(result.faces, names, strict=True):
            tracks.setdefault(person, []).append(face.track)
    return tracks


def test_people_who_cross_are_not_swapped():
    tracks = follow(lambda time: {ANNA: 120 + 70 * time, BEN: 520 - 70 * time})
    # One hides the other for a while.
    assert len(tracks[ANNA]) < len(tracks[BEN]) == RATE * SECONDS
    assert set(tracks[ANNA]) == {0}
    assert set(tracks[BEN]) == {1}


def test_a_person_who_returns_after_seconds_is_known_again():
    tracks = follow(lambda time: {ANNA: 450} | ({} if 1 <= time < 4.5 else {BEN: 150}))
    assert tracks == {ANNA: [0] * 60, BEN: [1] * 25}
    # Also on the other side, and although someone else was there meanwhile.
    tracks = follow(lambda time: {ANNA: 150} if time < 2 else {CARA: 150} if time < 4 else {ANNA: 450})
    assert tracks == {ANNA: [0] * 40, CARA: [1] * 20}


def test_a_cut_to_somebody_else_at_the_same_place_is_a_new_track_and_a_cut_back_the_old():
    for other_scene in (0, 1):
        tracks = follow(
            lambda time: {ANNA if not 2 <= time < 4 else BEN: 320},
            lambda time, other_scene=other_scene: other_scene if 2 <= time < 4 else 0,
        )
        assert tracks == {ANNA: [0] * 40, BEN: [1] * 20}


def test_a_frame_without_a_detection_does_not_end_a_track():
    tracks = follow(lambda time: {} if round(RATE * time) % 3 == 1 else {ANNA: 100 + 30 * time, BEN: 550 - 10 * time})
    assert tracks == {ANNA: [0] * 40, BEN: [1] * 40}


def crop(*face: float) -> np.ndarray:
    return np.array(face, float).reshape(1, 1, -1)


def as_given(crops: list[np.ndarray]) -> np.ndarray:
    """Descriptors that stand in the crops."""
    return np.stack([each.ravel() for each in crops])


def frame(time: float, *faces: tuple[float | None, np.ndarray], index: int = 0) -> FrameResult:
    """Faces at x, with their descriptors."""
    return FrameResult(
        Frame(index, CLIP, number=round(time * 25), time=time),
        tuple(
            FacePrediction(number, box=None if x is None else (x, 0, 100, 100), crop=pixels)
            for number, (x, pixels) in enumerate(faces)
        ),
    )


def numbers(results: list[FrameResult]) -> list[list[int | None]]:
    return [[face.track for face in result.faces] for result in tracked(results, as_given)]


A, B, C = crop(1, 0, 0), crop(0, 1, 0), crop(0, 0, 1)


def test_tracks_count_from_0_in_each_video_and_pictures_have_none():
    end = FrameResult(Frame(0, CLIP, end=True))
    album = FrameResult(Frame(1, Path("a.jpg")), (FacePrediction(0, crop=A),))
    results = [frame(0, (0, A), (200, B)), frame(1, (0, C)), end, album, frame(0, (0, B), index=2)]
    assert numbers(results) == [[0, 1], [2], [], [None], [0]]
    # A camera's results come between ticks.
    assert list(tracked([None, album, None], as_given)) == [None, album, None]


def test_position_and_motion_decide_between_people_who_look_alike():
    steps = [frame(time / 10, (40 * time, A), (405 - 40 * time, A)) for time in range(11)]
    turned = [replace(step, faces=step.faces[::-1]) if place % 2 else step for place, step in enumerate(steps)]
    assert numbers(steps) == [[0, 1]] * 11
    assert numbers(turned) == [[0, 1] if place % 2 == 0 else [1, 0] for place in range(11)]


def test_whole_pictures_taken_as_faces_are_told_apart_too():
    assert numbers([frame(time, (None, each)) for time, each in enumerate((A, A, B, A))]) == [[0], [0], [1], [0]]


def test_a_face_that_begins_half_hidden_goes_back_to_its_track():
    half = crop(1, 0.8, 0) / np.hypot(1, 0.8)
    steps = [frame(0, (0, A)), frame(5, (300, half)), frame(5.1, (300, A)), frame(5.2, (300, A))]
    assert numbers(steps) == [[0], [1], [0], [0]]


def test_people_who_were_gone_longest_are_forgotten():
    people = np.eye(REMEMBERED + 2)
    steps = [frame(10 * place, (0, crop(*each))) for place, each in enumerate(people)]
    # The last of them again, then one of the first, who has to give way to a new track's memory.
    back = [frame(5000, (0, crop(*people[-1]))), frame(5010, (0, crop(*people[0])))]
    assert numbers([*steps, *back])[-2:] == [[REMEMBERED + 1], [REMEMBERED + 2]]


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from((None, *range(0, 300, 50))), st.integers(0, 5)), max_size=4), max_size=8
    )
)
def test_faces_of_a_frame_never_share_a_track_and_a_second_pass_gives_the_same(steps):
    descriptors = np.random.default_rng(0).normal(size=(6, 3))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    results = [frame(time / 5, *((x, crop(*descriptors[each])) for x, each in step)) for time, step in enumerate(steps)]
    found = numbers(results)
    assert all(len(set(tracks)) == len(tracks) for tracks in found)
    first_met = list(dict.fromkeys(track for tracks in found for track in tracks))
    assert first_met == list(range(len(first_met)))
    assert numbers(results) == found


def test_descriptors_do_not_depend_on_the_light_and_the_size():
    (face,) = (each.crop for _, each in faces_of(*picture({ANNA: 320}, 0)))
    dark, large = (face // 2).astype(np.uint8), cv2.resize(face, (128, 128))
    flat = [np.full((32, 32, 3), level, np.uint8) for level in (0, 200)]
    found = hog_descriptors([face, dark, large, *flat])
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found[0] @ found[1:3].T > 0.97).all()
    assert found[3] @ found[4] == 1


def test_the_neutral_finders_pass_and_the_prediction_see_the_same_tracks(alone, tmp_path):
    """A real video of two people by turns, detected, with pictures before and after it."""
    shots = [picture({person: 320}, 0, person)[0][:, 160:480] for person in (ANNA, CARA, ANNA)]
    shots = [cv2.resize(shot, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA) for shot in shots]
    make_video(tmp_path / "a.mp4", [shot for shot in shots for _ in range(2)], rate=4)
    cv2.imwrite(str(tmp_path / "b.png"), shots[0][..., ::-1])
    extract = FaceExtractor({"size": 48, "margin": 0.15}, "cascade")
    sources = open_sources([tmp_path / "a.mp4", tmp_path / "b.png"], Reading())
    found = []
    for each in (extract_faces, lambda frames, extract: predict(frames, extract, alone)):
        results = each(read_frames(sources, enumerate(list_inputs(sources))), extract)
        found.append([[face.track for face in result.faces] for result in results])
    assert found[0] == found[1] == [[0]] * 2 + [[1]] * 2 + [[0]] * 2 + [[], [None]]


def test_real_people_who_cross_leave_and_return_and_are_cut_keep_their_tracks(shared, tmp_path):
    """Portraits as moving pictures, found by YuNet."""
    model = shared / "models" / "face_detection_yunet_2023mar.onnx"
    folder = shared / "data" / "london" / "neutral"
    if not (model.is_file() and folder.is_dir()):
        pytest.skip("no portraits or no detector here")
    people = [cv2.imread(str(folder / f"{name}.jpg"))[60:420, 90:420, ::-1] for name in ("001", "002", "005")]
    people = [cv2.resize(each, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for each in people]

    def shown(where: dict[int, float], background: int) -> np.ndarray:
        pixels = scene(background).copy()
        for person, x in where.items():
            height, width = people[person].shape[:2]
            pixels[80 : 80 + height, round(x) : round(x) + width] = people[person]
        return pixels

    clip = [shown({0: 20 + 38 * step, 1: 440 - 38 * step}, 0) for step in range(12)]
    clip += [shown({1: 22}, 0)] * 3 + [shown({2: 22}, 1)] * 3 + [shown({0: 438, 1: 22}, 0)] * 3
    make_video(tmp_path / "clip.mp4", clip, rate=4)
    sources = open_sources([tmp_path / "clip.mp4"], Reading())
    extract = FaceExtractor({"size": 64, "margin": 0.05}, model)
    found = [
        {round(face.box[0] + face.box[2] / 2): face.track for face in result.faces}
        for result in extract_faces(read_frames(sources, enumerate(list_inputs(sources))), extract)
    ]
    left, right = found[0][min(found[0])], found[0][max(found[0])]
    # They have changed sides.
    assert {min(found[11]): right, max(found[11]): left} == found[11]
    assert [set(each.values()) for each in found[12:21]] == [{right}] * 3 + [{2}] * 3 + [{left, right}] * 3
    assert set().union(*(each.values() for each in found)) == {0, 1, 2}


def result(time: float, *faces: tuple[int | None, float]) -> FrameResult:
    """Faces of a track with a probability of happiness."""
    predictions = [
        FacePrediction(number, {"happiness": share, "anger": 1 - share}, track=track)
        for number, (track, share) in enumerate(faces)
    ]
    return FrameResult(Frame(0, CLIP, number=round(time * 25), time=time), tuple(predictions))


def shares(results, seconds: float) -> list[list[float]]:
    return [[each.probabilities["happiness"] for each in found.faces] for found in smoothed(results, seconds)]


def test_a_frame_counts_half_after_so_many_seconds():
    steps = [result(0, (0, 1.0)), result(1, (0, 0.0)), result(3, (0, 0.0)), result(4, (0, 1.0))]
    # After 1 s half of the past is left, after 2 s a quarter of that.
    assert shares(steps, 1) == [[1.0], [0.5], [0.125], [pytest.approx(0.5625)]]


def test_the_label_is_that_of_the_average():
    calm = list(smoothed([result(0, (0, 0.9)), result(0.1, (0, 0.3))], 1))
    assert calm[1].faces[0].label == "happiness"


def test_smoothing_follows_the_track_not_the_order():
    steps = [result(0, (0, 1.0), (1, 0.0)), result(1, (1, 0.0), (0, 1.0))]
    assert shares(steps, 1)[1] == [0.0, 1.0]


def test_a_track_that_was_long_out_of_sight_and_another_track_begin_anew():
    assert shares([result(0, (0, 1.0)), result(9, (0, 0.0))], 1)[1] == [0.0]
    assert shares([result(0, (0, 1.0)), result(9, (0, 0.0))], 9)[1] == [0.5]
    assert shares([result(0, (0, 1.0)), result(1, (1, 0.0))], 1)[1] == [0.0]
    assert shares([result(0, (None, 1.0)), result(1, (None, 0.0))], 1)[1] == [0.0]


def test_pictures_stay_as_they_are_and_videos_do_not_run_into_each_other():
    end, album = FrameResult(Frame(0, CLIP, end=True)), FrameResult(Frame(1, Path("a.jpg")))
    later = result(0.5, (0, 0.0))
    steps = [result(0, (0, 1.0)), end, album, replace(later, frame=replace(later.frame, index=2))]
    calm = list(smoothed(steps, 1))
    assert calm[1:3] == [end, album]
    assert calm[3].faces[0].probabilities["happiness"] == 0.0


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0.01, 10))
def test_probabilities_stay_probabilities_between_the_least_and_the_most_that_was_seen(steps, seconds):
    time, results = 0.0, []
    for after, share in steps:
        time += after
        results.append(result(time, (0, share)))
    seen = [share for _, share in steps]
    for number, (share,) in enumerate(shares(results, seconds), start=1):
        assert min(seen[:number]) - 1e-9 <= share <= max(seen[:number]) + 1e-9
