"""A person's face in one frame: landmarks, curves through them, and how a turned head projects them onto the picture.

A face lies in its own plane: the origin between the eyes, lengths in distances between the eyes' centres, x to the
picture's right and y down. A :class:`Pose` gives it depth, turns it and puts it on the picture, in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike

from fer_cli.synthetic.action_units import MIRROR, Sides
from fer_cli.synthetic.person import Identity

_BITS = 4
_ONE = 1 << _BITS
#: An opacity that moves no pixel by a grey level.
_UNSEEN = 0.004


class Canvas:
    """A picture of three planes, RGB, in float32, 0 to 255, and the brushes that paint on it.

    Every brush takes points in pixels, a colour, how opaque it is, the blur of its edge in pixels, and optionally
    ``within``, a mask of the picture's size from 0 to 1 that it does not paint beyond.
    """

    def __init__(self, width: int, height: int):
        self.pixels = np.zeros((3, height, width), np.float32)
        self.height, self.width = height, width

    def mask(self, *polygons: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """A mask of the picture's size that is 1 inside the polygons."""
        whole = np.zeros((self.height, self.width), np.float32)
        box, part = self._part(polygons, blur)
        if part is not None:
            whole[box] = part
        return whole

    def fill(
        self,
        points: np.ndarray | list[np.ndarray],
        colour: tuple[float, float, float] | np.ndarray,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Paint a polygon, or several as one layer."""
        if opacity <= _UNSEEN:
            return
        box, part = self._part(tuple(points) if isinstance(points, list) else (points,), blur)
        if part is not None:
            self._lay(box, part, colour, opacity, within)

    def stroke(
        self,
        line: np.ndarray,
        width: float | np.ndarray,
        colour: tuple[float, float, float] | np.ndarray,
        opacity: float = 1.0,
        *,
        blur: float = 0.0,
        taper: bool = True,
        within: np.ndarray | None = None,
    ) -> None:
        """Paint along ``line``, ``width`` pixels across (or as many as given for each point), thinner at the ends."""
        if opacity > _UNSEEN:
            self.fill(ribbon(line, width, taper=taper), colour, opacity, blur=blur, within=within)

    def blob(
        self,
        centre: np.ndarray,
        radii: tuple[float, float],
        colour: tuple[float, float, float] | np.ndarray,
        opacity: float,
        *,
        angle: float = 0.0,
        within: np.ndarray | None = None,
    ) -> None:
        """Paint a spot that fades as a Gaussian with standard deviations ``radii``, turned by ``angle`` radians."""
        if opacity <= _UNSEEN:
            return
        height, width = self.height, self.width
        wide, high = (2.5 * r for r in (radii if angle == 0 else (max(radii), max(radii))))
        left, right = int(max(0, centre[0] - wide)), int(min(width, centre[0] + wide + 1))
        top, bottom = int(max(0, centre[1] - high)), int(min(height, centre[1] + high + 1))
        if left >= right or top >= bottom:
            return
        x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre[0])
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre[1])
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        along, across = (x * cos + y * sin) / np.float32(radii[0]), (y * cos - x * sin) / np.float32(radii[1])
        part = cv2.exp(-0.5 * (along * along + across * across))
        self._lay(np.s_[top:bottom, left:right], part, colour, opacity, within)

    def _part(self, polygons: tuple[np.ndarray, ...], blur: float) -> tuple[tuple[slice, slice], np.ndarray | None]:
        margin = 2 + int(np.ceil(3 * blur))
        corners = np.concatenate(polygons)
        left, top = np.maximum(np.floor(corners.min(0)).astype(int) - margin, 0)
        right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + margin + 1, (self.width, self.height))
        if left >= right or top >= bottom:
            return np.s_[0:0, 0:0], None
        part = np.zeros((bottom - top, right - left), np.uint8)
        shapes = [np.round((points - (left, top)) * _ONE).astype(np.int32) for points in polygons]
        for shape in shapes:
            cv2.fillPoly(part, [shape], 255, lineType=cv2.LINE_AA, shift=_BITS)
        if blur > 0:
            part = cv2.GaussianBlur(part, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
        return np.s_[top:bottom, left:right], part.astype(np.float32) * np.float32(1 / 255)

    def _lay(
        self,
        box: tuple[slice, slice],
        part: np.ndarray,
        colour: tuple[float, float, float] | np.ndarray,
        opacity: float,
        within: np.ndarray | None,
    ) -> None:
        part = part * np.float32(opacity) if within is None else part * within[box] * np.float32(opacity)
        for plane, value in zip(self.pixels, colour, strict=True):
            under = plane[box]
            under += (np.float32(value) - under) * part


def ribbon(line: np.ndarray, width: float | np.ndarray, *, taper: bool = True) -> np.ndarray:
    """The outline (2n, 2) of a band along ``line`` (n, 2), ``width`` across, narrowing to nothing at its ends."""
    way = np.gradient(line, axis=0)
    normal = np.column_stack((-way[:, 1], way[:, 0])) / np.maximum(np.hypot(*way.T), 1e-6)[:, None]
    half = np.broadcast_to(np.asarray(width, float) / 2, len(line)).copy()
    if taper:
        half *= np.sqrt(np.clip(np.sin(np.linspace(0, np.pi, len(line))), 0.02, 1))
    return np.concatenate((line + normal * half[:, None], (line - normal * half[:, None])[::-1]))


def disc(centre: np.ndarray, radius: float, steps: int = 28) -> np.ndarray:
    """The outline (steps, 2) of a disc."""
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return centre + radius * np.column_stack((np.cos(angle), np.sin(angle)))


WIDTH, HEIGHT = 640, 490

_JAW = [
    (-1.17, 0.02), (-1.16, 0.32), (-1.12, 0.62), (-1.04, 0.91), (-0.91, 1.18), (-0.72, 1.42), (-0.49, 1.61),
    (-0.25, 1.73), (0, 1.77),
]  # fmt: skip
_BROW = [(-0.97, -0.22), (-0.83, -0.33), (-0.63, -0.37), (-0.42, -0.345), (-0.22, -0.28)]
_NOSE = [(0, -0.02), (0, 0.19), (0, 0.40), (0, 0.60)]
_NOSTRILS = [(-0.235, 0.745), (-0.12, 0.785), (0, 0.81)]
_EYE = [(-0.735, 0.015), (-0.60, -0.078), (-0.41, -0.08), (-0.275, 0.03), (-0.41, 0.073), (-0.59, 0.076)]
_UPPER_LIP = [(-0.43, 1.17), (-0.27, 1.11), (-0.095, 1.065), (0, 1.085)]
_LOWER_LIP = [(0, 1.325), (-0.13, 1.31), (-0.29, 1.25)]
_INSIDE = [(-0.385, 1.17), (-0.13, 1.165), (0, 1.172)]
_INSIDE_LOW = [(0, 1.178), (-0.13, 1.171)]

#: Where the mouth opens, and so where the upper teeth end: they move with the skull, not with the lips.
LIP_LINE = 1.17


def _average_face() -> np.ndarray:
    face = np.zeros((68, 2))
    halves: list[tuple[range, Sequence[tuple[float, float]]]] = [
        (range(9), _JAW),
        (range(17, 22), _BROW),
        (range(27, 31), _NOSE),
        (range(31, 34), _NOSTRILS),
        (range(36, 42), _EYE),
        (range(48, 52), _UPPER_LIP),
        (range(57, 60), _LOWER_LIP),
        (range(60, 63), _INSIDE),
        (range(66, 68), _INSIDE_LOW),
    ]
    for indices, points in halves:
        for index, (x, y) in zip(indices, points, strict=True):
            face[index] = x, y
            face[MIRROR[index]] = -x, y
    return face


AVERAGE = _average_face()


def neutral_landmarks(person: Identity) -> np.ndarray:
    """The person's 68 landmarks (68, 2) with no muscle acting, in the face's plane."""
    face = AVERAGE.copy()
    side = np.sign(face[:, 0])

    jaw = face[:17]
    down = np.clip(jaw[:, 1] / 1.77, 0, 1)
    jaw[:, 0] *= person.face_width * (1 + (person.jaw_width - 1) * np.sin(np.pi * np.clip(down * 1.05, 0, 1)))
    jaw[:, 1] = np.where(jaw[:, 1] > 0.9, 0.9 + (jaw[:, 1] - 0.9) * (1 + (person.chin_drop - 1) * 1.9), jaw[:, 1])
    near_chin = np.abs(np.arange(17) - 8)
    jaw[near_chin == 1, 1] += 0.02 * person.chin_point
    jaw[near_chin == 2, 0] *= 1 + 0.07 * person.chin_point

    eyes, brows = face[36:48], face[17:27]
    centre = side[36:48] * 0.505
    from_centre = eyes[:, 0] - centre
    eyes[:, 0] = centre * person.eye_spacing + from_centre * person.eye_width
    eyes[:, 1] = 0.01 + (eyes[:, 1] - 0.01) * person.eye_height
    eyes[:, 1] -= person.eye_slant * side[36:48] * from_centre / 0.23
    brows[:, 0] *= person.eye_spacing
    outward = (np.abs(brows[:, 0]) - 0.6) / 0.38
    brows[:, 1] -= person.brow_height + person.brow_slant * outward + person.brow_arch * (1 - outward**2)

    face[27:36, 1] *= person.nose_length
    face[31:36, 0] *= person.nose_width

    mouth = face[48:68]
    mouth[:, 0] *= person.mouth_width
    line, thickness = LIP_LINE, mouth[:, 1] - LIP_LINE
    upper = thickness < -0.02
    thickness *= np.where(upper, person.upper_lip, person.lower_lip)
    mouth[:, 1] = line + thickness
    mouth[3, 1] += 0.02 * (person.cupid - 1)
    mouth[:, 1] += mouth_shift(person)
    return face


def by(x: float, y: float) -> np.ndarray:
    """A step of ``x`` to the picture's right and ``y`` down."""
    return np.array((x, y))


def mouth_shift(person: Identity) -> float:
    """Distance of the person's mouth below the average face's."""
    return person.mouth_height + 0.5 * (person.nose_length - 1) + 0.35 * (person.chin_drop - 1)


def curve(points: np.ndarray, steps: int = 8, *, closed: bool = False) -> np.ndarray:
    """A smooth curve (n, 2) through ``points``: a uniform Catmull-Rom spline."""
    points = np.asarray(points, dtype=float)
    if closed:
        padded = np.concatenate((points[-1:], points, points[:2]))
    else:
        padded = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    pieces = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    line = pieces.reshape(-1, 2)
    return line if closed else np.concatenate((line, points[-1:]))


@dataclass(frozen=True)
class Pose:
    """Pose of the head: yaw, pitch and roll in radians, the origin's pixel, and the pixels between the eyes."""

    yaw: float
    pitch: float
    roll: float
    x: float
    y: float
    size: float

    @cached_property
    def _rotation(self) -> np.ndarray:
        (cy, cp, cr), (sy, sp, sr) = (
            np.cos((self.yaw, self.pitch, self.roll)),
            np.sin((self.yaw, self.pitch, self.roll)),
        )
        yaw = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
        pitch = np.array(((1, 0, 0), (0, cp, sp), (0, -sp, cp)))
        roll = np.array(((cr, -sr, 0), (sr, cr, 0), (0, 0, 1)))
        return roll @ pitch @ yaw

    def __call__(self, points: np.ndarray, depth: float | None = None) -> np.ndarray:
        """Points (n, 2) of the face's plane in pixels; ``depth`` is that of what does not lie on the face's surface."""
        points = np.asarray(points, dtype=float).reshape(-1, 2)
        z = _surface(points) if depth is None else np.full(len(points), depth)
        # Turned about a point between the ears, so that the head stays where the neck holds it.
        turned = np.column_stack((points[:, 0], points[:, 1] - 0.6, z)) @ self._rotation.T
        return np.column_stack((self.x + self.size * turned[:, 0], self.y + self.size * (turned[:, 1] + 0.6)))


def _surface(points: np.ndarray) -> np.ndarray:
    """Depth of the face at each point: an ellipsoid, and the nose upon it."""
    x, y = points[:, 0], points[:, 1]
    skull = 0.95 * np.sqrt(np.clip(1 - (x / 1.35) ** 2 - ((y - 0.3) / 2.3) ** 2, 0, None))
    nose = 0.34 * np.exp(-((x / 0.17) ** 2)) * np.exp(-(((y - 0.62) / 0.33) ** 2))
    return skull + nose


@dataclass(frozen=True)
class Face:
    """A person in one frame: landmarks (68, 2) in the face's plane, folds of the skin by name, the head's pose."""

    person: Identity
    landmarks: np.ndarray
    folds: dict[str, Sides]
    pose: Pose

    def at(self, points: ArrayLike, depth: float | None = None) -> np.ndarray:
        """Points of the face's plane (n, 2), in pixels."""
        return self.pose(np.asarray(points, dtype=float), depth)

    def line(self, points: ArrayLike, steps: int = 8, *, depth: float | None = None) -> np.ndarray:
        """A smooth curve through points of the face's plane, in pixels."""
        return self.pose(curve(np.asarray(points, dtype=float), steps), depth)

    def px(self, length: float) -> float:
        """A length of the face's plane, in pixels."""
        return self.pose.size * length

    @cached_property
    def skin(self) -> np.ndarray:
        """The skin's colour in even light."""
        return np.array(self.person.skin)

    @cached_property
    def shade(self) -> np.ndarray:
        """Skin that light reaches badly."""
        return self.skin * (0.66, 0.56, 0.52)

    @cached_property
    def crease(self) -> np.ndarray:
        """The bottom of a fold."""
        return self.skin * (0.48, 0.36, 0.32)

    @cached_property
    def glow(self) -> np.ndarray:
        """Skin that the light strikes."""
        return self.skin + (255 - self.skin) * (0.42, 0.38, 0.34)

    @cached_property
    def outline(self) -> np.ndarray:
        """The head's outline (n, 2) in the face's plane: the jaw, then over the crown."""
        jaw = self.landmarks[:17]
        angle = np.linspace(0, np.pi, 13)[1:-1]
        middle, half = (jaw[0, 0] + jaw[16, 0]) / 2, (jaw[16, 0] - jaw[0, 0]) / 2
        # Squarer than an ellipse, as skulls are.
        cos, sin = np.cos(angle), np.sin(angle)
        crown = np.column_stack(
            (middle + half * np.sign(cos) * np.abs(cos) ** 0.85, jaw[0, 1] - self.crown_height * sin**0.85)
        )
        return curve(np.concatenate((jaw, crown)), 6, closed=True)

    @property
    def crown_height(self) -> float:
        """Distance from the ears' height to the top of the skull."""
        return 1.52 * self.person.crown
