"""A picture to paint on: anti-aliased shapes with soft edges, laid over one another."""

import cv2
import numpy as np

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

    def _lay(self, box, part: np.ndarray, colour, opacity: float, within: np.ndarray | None) -> None:
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
