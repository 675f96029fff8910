"""Tracks of faces through a video, and the smoothing of their probabilities along them."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from fer_cli.prediction.results import Box, FacePrediction, FrameResult, crop_of

# Why no library: supervision's and trackers' ByteTrack and OC-SORT link boxes by overlap alone, which swaps people who
# cross and follows a face across a cut; BoT-SORT with appearance needs torch models of whole pedestrians; all end a
# track after a gap and number tracks by a counter of the process. trackers also requires opencv-python, which
# overwrites the headless OpenCV installed here.

#: Makes N×D of N crops, size×size×3 uint8 RGB; rows are compared by their cosine distance.
Describe = Callable[[list[np.ndarray]], np.ndarray]

#: Seconds after which a face that was out of sight is not expected where it was last.
OUT_OF_SIGHT = 2.0
#: The intersection over union with the expected box from which a face is where its track is expected.
OVERLAP = 0.3
#: The largest distance of two descriptors of one person, anywhere and where its track is expected; and that beyond
#: which distances are alike: of most people, and of a face that another covers. Of 102 portraits in one light with
#: seven expressions, 1.1 % of the distances within a person are above the first and 0.13 % of those between people
#: below; 0.02 and 5.7 % for the second. Of press photographs of 875 people no two are below the first.
DISTANCE_ANYWHERE, DISTANCE_HERE, DISTANCE_FAR = 0.12, 0.16, 0.32
#: What a full overlap is worth, as a difference of distances: position decides between people who look alike.
OVERLAP_WEIGHT = 0.05
#: The correlation of two frames' thumbnails below which there was a cut between them, and a thumbnail's side in pixels.
CUT, THUMBNAIL = 0.5, 16
#: Seconds for which a track is new: a face seen before, half hidden at first, goes back to its track; and what this is
#: worth, as a difference of distances.
NEW, NEW_WEIGHT = 1.0, 0.17
#: Descriptors stored for each track, and the distance up to which a new one replaces the stored one nearest to it.
EXEMPLARS, ALIKE = 6, 0.04
#: Tracks remembered for people who may return; those seen last.
REMEMBERED = 100


@dataclass(slots=True)
class _Track:
    number: int
    begun: float
    box: Box | None
    time: float
    exemplars: list[np.ndarray]
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def expected_iou(self, box: Box | None, time: float) -> float:
        """The intersection over union of ``box`` with that expected at ``time``; 0 after :data:`OUT_OF_SIGHT`.

        A face may have moved on, hidden by another, or stopped: the better counts.
        """
        gap = time - self.time
        if gap > OUT_OF_SIGHT:
            return 0.0
        if self.box is None:
            return iou(None, box)
        (x, y, width, height), (across, down) = self.box, self.velocity * gap
        return max(iou(self.box, box), iou((x + across, y + down, width, height), box))

    def distance(self, descriptors: np.ndarray) -> np.ndarray:
        """N distances of N×D ``descriptors`` to the nearest exemplar."""
        return 1 - (descriptors @ np.array(self.exemplars).T).max(axis=1)

    def follow(self, box: Box | None, time: float, descriptor: np.ndarray) -> None:
        """Take a face at ``time`` for this track's."""
        gap = time - self.time
        if box is not None and self.box is not None and 0 < gap <= OUT_OF_SIGHT:
            # Detections jitter: half of the motion before is kept.
            self.velocity = (self.velocity + np.subtract(_centre(box), _centre(self.box)) / gap) / 2
        elif gap > 0:
            self.velocity = np.zeros(2)
        self.box, self.time = box, time
        alike = [float(descriptor @ exemplar) for exemplar in self.exemplars]
        if 1 - max(alike) < ALIKE:
            self.exemplars[alike.index(max(alike))] = descriptor
        elif 1 - max(alike) < DISTANCE_HERE:
            # Beyond, a part of it is someone else.
            self.exemplars = [*self.exemplars[-(EXEMPLARS - 1) :], descriptor]


def hog_descriptors(crops: list[np.ndarray]) -> np.ndarray:
    """N×1568 float32 of N crops, size×size×3 uint8 RGB: histograms of oriented gradients, of unit length.

    N. Dalal and B. Triggs, *Histograms of Oriented Gradients for Human Detection* (2005), of the crop at 64 pixels. It
    tells people of one scene apart, but does not know a face again in another picture, as an identity encoder does.
    """
    from skimage.feature import hog

    table = []
    for crop in crops:
        grey = cv2.cvtColor(cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        # Noise and blocks of compression would be directions like any other.
        grey = cv2.GaussianBlur(grey, (0, 0), 1).astype(np.float32)
        table.append(hog(grey, orientations=8, pixels_per_cell=(8, 8), cells_per_block=(2, 2)))
    found = np.array(table, np.float32)
    # A crop without any edge is like others without.
    found[~found.any(axis=1), 0] = 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def tracked(
    results: Iterable[FrameResult | None], describe: Describe = hog_descriptors
) -> Iterator[FrameResult | None]:
    """The results with a ``track`` for each face of a video or a camera; pictures, and None, are unchanged.

    Tracks are numbered from 0 in the order in which they come up in each video. The faces of a frame are assigned to
    tracks at once, at the least sum of descriptor distances (H. W. Kuhn, *The Hungarian method*, 1955), a little less
    for a face that overlaps its track's box, moved on at constant velocity. Where a track is expected a face may have
    changed more than elsewhere, and in any way while another is so near that it may cover it. A person who is back,
    after a gap of any length or a cut, has the same track; a face unlike those before, even at the same place, begins
    a new one. Later frames do not count, so that a camera's results are there at once, and two passes over a video
    give the same tracks.

    ``describe`` makes descriptors of crops.
    """
    tracks: list[_Track] = []
    video, count, before, cut = None, 0, None, -math.inf
    for result in results:
        if result is None or result.frame.closes or result.frame.time is None:
            yield result
            continue
        if result.frame.index != video:
            video, tracks, count, before = result.frame.index, [], 0, None
            cut = -math.inf
        if _is_cut(before, result.frame.thumbnail):
            cut = result.frame.time
        before = result.frame.thumbnail
        if not result.faces:
            yield result
            continue
        descriptors, time = describe([crop_of(face) for face in result.faces]), result.frame.time
        faces = []
        found = _assigned(result.faces, descriptors, tracks, time, cut)
        for face, track, descriptor in zip(result.faces, found, descriptors, strict=True):
            if track is None:
                track = _Track(count, time, face.box, time, [descriptor])
                tracks.append(track)
                count += 1
            else:
                track.follow(face.box, time, descriptor)
            faces.append(replace(face, track=track.number))
        tracks = sorted(tracks, key=lambda track: (track.time, track.number))[-max(REMEMBERED, len(faces)) :]
        yield replace(result, faces=tuple(faces))


def _assigned(
    faces: Sequence[FacePrediction], descriptors: np.ndarray, tracks: Sequence[_Track], time: float, cut: float
) -> list[_Track | None]:
    """The track of each face, None for a new one. Tracks of before ``cut`` are expected nowhere."""
    if not tracks:
        return [None] * len(faces)
    distances = np.stack([track.distance(descriptors) for track in tracks], axis=1)
    overlaps = np.array(
        [[track.expected_iou(face.box, time) if track.time >= cut else 0 for track in tracks] for face in faces]
    )
    here = overlaps >= OVERLAP
    covered = np.array([any(_touch(face.box, other.box) for other in faces if other is not face) for face in faces])
    # Of a face half covered only the motion is known.
    most_here = np.where(covered, np.inf, DISTANCE_HERE)[:, None]
    allowed = distances < np.where(here, most_here, DISTANCE_ANYWHERE)
    # A new track costs as much as the largest distance: free of cost, it would be avoided at the expense of the others.
    new = np.array([track.time - track.begun < NEW for track in tracks])
    costs = distances.clip(max=DISTANCE_FAR) - OVERLAP_WEIGHT * np.where(here, overlaps, 0) + NEW_WEIGHT * new
    gains = np.where(allowed, DISTANCE_FAR + NEW_WEIGHT - costs, 0)
    found: list[_Track | None] = [None] * len(faces)
    for row, column in zip(*linear_sum_assignment(gains, maximize=True), strict=True):
        if allowed[row, column]:
            found[row] = tracks[column]
    return found


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """16×16 uint8 grey of H×W×3 uint8 RGB ``pixels``, to tell a cut by."""
    height, width = pixels.shape[:2]
    # Every n-th pixel will do, and reading all of them would take longer.
    few = pixels[:: max(1, height // (8 * THUMBNAIL)), :: max(1, width // (8 * THUMBNAIL))]
    return cv2.cvtColor(cv2.resize(few, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def _is_cut(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two thumbnails show different scenes; False where there is none, or nothing on one of them."""
    if one is None or other is None or one.std() < 1 or other.std() < 1:
        return False
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < CUT


def smoothed(results: Iterable[FrameResult], seconds: float) -> Iterator[FrameResult]:
    """The results with the probabilities of videos' faces averaged over the past of their track, exponentially.

    A frame counts for less the longer ago it is, by half each ``seconds``; later frames do not count, so that a result
    is there as soon as its frame is. A face that returns after more than :data:`OUT_OF_SIGHT` (or ``seconds``, where
    they are longer) begins anew. Pictures, and faces without a track, are unchanged.
    """
    past: dict[int, tuple[float, dict[str, float]]] = {}
    video = None
    for result in results:
        now = result.frame.time
        if result.frame.closes or now is None:
            yield result
            continue
        if result.frame.index != video:
            video, past = result.frame.index, {}
        past = {track: seen for track, seen in past.items() if now - seen[0] <= max(OUT_OF_SIGHT, seconds)}
        faces = []
        for face in result.faces:
            shares = face.probabilities
            if face.track in past:
                before, average = past[face.track]
                share = math.pow(0.5, (now - before) / seconds)
                shares = {name: share * average[name] + (1 - share) * new for name, new in shares.items()}
            if face.track is not None:
                past[face.track] = now, shares
            faces.append(replace(face, probabilities=shares))
        yield replace(result, faces=tuple(faces))


def iou(one: Box | None, other: Box | None) -> float:
    """The intersection of two boxes over their union; 1 where both are the whole picture."""
    if one is None or other is None:
        return float(one is other)
    (x, y, width, height), (u, v, breadth, tall) = one, other
    across = max(0.0, min(x + width, u + breadth) - max(x, u))
    down = max(0.0, min(y + height, v + tall) - max(y, v))
    return across * down / (width * height + breadth * tall - across * down)


def _touch(one: Box | None, other: Box | None) -> bool:
    """Whether the heads of two faces, with hair and shoulders half as large again as their boxes, may overlap."""
    if one is None or other is None:
        return one is other
    across, down = np.abs(np.subtract(_centre(one), _centre(other)))
    return bool(across < 0.75 * (one[2] + other[2]) and down < 0.75 * (one[3] + other[3]))


def _centre(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2
