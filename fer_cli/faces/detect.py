"""Face detection by YuNet in pictures of any size, with accurate landmarks, and where the network's file comes from.

W. Wu, H. Peng, S. Yu, *YuNet: A Tiny Millisecond-level Face Detector*, 2023, doi 10.1007/s11633-023-1423-y. The
network's file is OpenCV's. ONNX Runtime takes half the time over it that OpenCV's own engine takes; its output is
turned into boxes as OpenCV's ``FaceDetectorYN`` does, which a test compares it with.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnx
import onnxruntime

from fer_cli.errors import DetectorError, PictureError, UnreachableDetectorError
from fer_cli.faces.align import CropTemplate
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular, read_bytes
from fer_cli.progress import Progress, silent

#: The three grids on which faces are looked for, by the pixels from one place of the grid to the next.
STRIDES = (8, 16, 32)
#: Boxes that share more of their area than this are one face.
SAME = 0.3
MOST = 5000
#: What the network's first layer takes.
AS_FLOAT = "pixels_as_float"


class YuNet:
    """The network in the file ``model``; faces that score less than ``threshold`` are none.

    Raises whatever onnx and ONNX Runtime raise, if the file is no network, and ``ValueError`` if it is another one.
    """

    def __init__(self, model: Path, threshold: float):
        # From bytes, so that no other file is asked for.
        network = onnx.load_from_string(read_bytes(model))
        _take_bytes_of_any_size(network.graph)
        options = onnxruntime.SessionOptions()
        # Whoever has many pictures looks at several at once.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Pictures of many sizes come, and a plan of memory for each would be kept for ever.
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        if not set(self._outputs) <= {output.name for output in self._session.get_outputs()}:
            raise ValueError("another network")
        self._threshold = threshold

    def find(self, pixels: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """N×15 for the faces in H×W×3 uint8 RGB ``pixels``, the surest first; ``threshold`` replaces the network's.

        A row is the box's left, top, width and height, the five points' x and y, and the score.
        """
        threshold = self._threshold if threshold is None else threshold
        height, width = pixels.shape[:2]
        # The network halves a picture five times.
        planes = np.zeros((3, -(-height // 32) * 32, -(-width // 32) * 32), np.uint8)
        # Blue first, as OpenCV has them.
        planes[::-1, :height, :width] = cv2.split(pixels)
        found = self._session.run(self._outputs, {self._input: planes[None]})
        across = planes.shape[2]
        rows = np.concatenate(
            [
                _on_grid(threshold, stride, across // stride, *(part[0] for part in found[4 * place : 4 * place + 4]))
                for place, stride in enumerate(STRIDES)
            ]
        )
        # OpenCV compares boxes of whole pixels.
        kept = cv2.dnn.NMSBoxes(rows[:, :4].astype(int).tolist(), rows[:, 14].tolist(), threshold, SAME, top_k=MOST)
        return rows[np.asarray(kept, dtype=int).ravel()]


def _on_grid(
    threshold: float, stride: int, across: int, cls: np.ndarray, obj: np.ndarray, box: np.ndarray, points: np.ndarray
) -> np.ndarray:
    score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
    places = np.flatnonzero(score >= threshold)
    corner = np.stack([places % across, places // across], axis=1).astype(np.float32)
    middle, size = (corner + box[places, :2]) * stride, np.exp(box[places, 2:]) * stride
    marks = (points[places].reshape(-1, 5, 2) + corner[:, None]) * stride
    return np.concatenate([middle - size / 2, size, marks.reshape(-1, 10), score[places, None]], axis=1)


def _take_bytes_of_any_size(graph: onnx.GraphProto) -> None:
    """Have the network take 1×3×H×W uint8: the file is made for 640×640 float32, its layers take any size.

    Made float32 inside the graph, in memory that is used again, the numbers are the same; done outside it took a third
    of the whole time.
    """
    for value, names in (
        *((value, ("", "", "height", "width")) for value in graph.input),
        *((value, ("", "places", "")) for value in graph.output),
    ):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if name:
                dimension.dim_param = name
    del graph.value_info[:]
    given = graph.input[0]
    given.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    for node in graph.node:
        node.input[:] = [AS_FLOAT if name == given.name else name for name in node.input]
    graph.node.insert(0, onnx.helper.make_node("Cast", [given.name], [AS_FLOAT], to=onnx.TensorProto.FLOAT))


REPOSITORY = "opencv/face_detection_yunet"
FILE = "face_detection_yunet_2023mar.onnx"
REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
VARIABLE = "FER_YUNET"

#: How long the Hub may take to answer, in seconds, before the cascade is taken.
PATIENCE = 10

HINT = (
    f"Type --detector-model PATH with {FILE}, set {VARIABLE} to it, type --detector cascade (frontal faces only), or "
    "--detector none if the pictures are faces already cropped."
)


def find_detector_model(path: Path | None = None, progress: Progress = silent) -> Path:
    """The detector's file: ``path``, else the one that FER_YUNET names, else downloaded once from the Hugging Face Hub.

    Raises :class:`~fer_cli.errors.DetectorError` if it is not there, or what was downloaded is not what is expected.
    """
    named = path or os.environ.get(VARIABLE)
    if not named:
        progress("fetching the face detector", 0, None)
        return _downloaded()
    given = Path(named).expanduser()
    if not given.is_file():
        by = "--detector-model" if path else VARIABLE
        raise DetectorError(f"{by} names {given}, which is not a file.", hint=HINT)
    try:
        open_regular(given).close()
    except OSError as error:
        raise DetectorError(f"{given} cannot be read: {error.strerror or error}.", hint=HINT) from error
    if is_lfs_pointer(given):
        raise DetectorError(f"{given} is {LFS_POINTER}.", hint=HINT)
    return given


def can_be_had(path: Path | None = None) -> bool:
    """Whether the detector's file was named (then it must be right), is in the Hub's cache, or the Hub answers.

    Nothing is tried twice: to download it takes half a minute until a machine without a network gives up.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if path or os.environ.get(VARIABLE) or isinstance(try_to_load_from_cache(REPOSITORY, FILE, revision=REVISION), str):
        return True
    try:
        get_hf_file_metadata(hf_hub_url(REPOSITORY, FILE, revision=REVISION), timeout=PATIENCE)
    except Exception:  # the hub's errors, and the network's
        return False
    return True


def _downloaded() -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars, logging

    disable_progress_bars()
    logging.set_verbosity_error()
    try:
        file = Path(hf_hub_download(REPOSITORY, FILE, revision=REVISION))
    except Exception as error:  # the hub's errors, the network's, and the disk's
        raise UnreachableDetectorError(
            f"The face detector {FILE} is not in {constants.HF_HUB_CACHE} and cannot be downloaded from "
            f"{REPOSITORY} ({type(error).__name__}: {str(error).partition('. ')[0]}).",
            hint=HINT,
        ) from error
    if hashlib.sha256(read_bytes(file)).hexdigest() != SHA256:
        # The cache shows a link; only without what it links to does the hub download anew.
        raise DetectorError(
            f"{file.resolve()} is not the file that was expected: its checksum differs.", hint=f"Remove it. {HINT}"
        )
    return file


#: Longest sides, in pixels, at which a picture is searched: smaller ones where no face is found, because YuNet
#: finds faces of about 10 to 300 pixels, and a face that fills its picture is larger than that.
SIDES = (640, 320, 160)
#: A picture this large is searched again at this size, for the smaller faces of a group.
FINE_SIDE = 1280

#: Whoever wants the largest face alone has it from a search at this side, a quarter of the pixels, where it is at least
#: so large there and no other box that scores at least :data:`RIVAL` has half its area. In 2,800 pictures, half of them
#: with several faces, it was the largest at 640 too, wherever these three were so; only smaller ones were missed.
COARSE_SIDE, COARSE_FACE, RIVAL, RIVAL_AREA = 320, 40, 0.3, 0.5

#: Each face is detected again, upright, in these sizes and mirrored, and its points are the mean of what is found. A
#: single detection places the eyes less well: on 102 portraits with hand-marked eyes this takes the median error from
#: 4.7 to 3.1 % of the distance between the eyes, and the worst from 13 to 9 %.
REFINEMENTS = (CropTemplate(256, margin=0.3), CropTemplate(288, margin=0.3))
#: A face whose refinements all agree and score at least this on average is upright: of 1,400 portraits and press
#: photographs turned by 90, 180 and 270 degrees none did.
UPRIGHT = 0.915
#: Any other is detected in four turns, in a square of this many pixels whose side is so many times the box's. In 840
#: trials with faces of all turns the upright one scored highest in all but one.
TURN_SIZE, TURN_ROOM = 160, 1.4
#: A refinement that finds the eyes farther off than this many distances between the eyes has found another face.
SAME_FACE = 0.3
#: The five points' order in a mirrored picture.
MIRRORED = [1, 0, 2, 4, 3]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a picture.

    ``box`` is x, y, width and height in pixels of the picture, from its top left corner. ``landmarks`` are 5×2, x and
    y of the right eye, the left eye, the tip of the nose, the right and the left corner of the mouth, right and left
    being the person's own. ``score`` is the detector's, 0 to 1. ``turn`` is by how many degrees, clockwise and in
    quarters, the picture would have to be turned for the face to be upright.
    """

    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    score: float
    turn: int = 0

    @property
    def area(self) -> float:
        """The box's area in pixels."""
        return self.box[2] * self.box[3]

    def overlaps(self, other: "Face") -> bool:
        """Whether the middle of either's box lies in the other's: one face, or a part of it taken for another."""
        return _middle_inside(self.box, other.box) or _middle_inside(other.box, self.box)


class FaceDetector(Protocol):
    """What finds faces: :class:`Detector`, or :class:`~fer_cli.faces.cascade.CascadeDetector`."""

    def detect(self, pixels: np.ndarray, *, any_way_up: bool = True) -> list[Face]:
        """The faces in H×W×3 uint8 RGB ``pixels``, the largest first."""

    def largest(self, pixels: np.ndarray) -> Face | None:
        """The largest face, or None."""


class Detector:
    """YuNet, from the file ``model``.

    Raises :class:`~fer_cli.errors.DetectorError` if the file is not the detector's.
    """

    def __init__(self, model: Path, threshold: float = 0.7):
        self._threshold = threshold
        try:
            self._net = YuNet(model, threshold)
            self._find(np.zeros((32, 32, 3), np.uint8), 32)
        except Exception as error:  # whatever a file that is no network makes its readers raise
            raise DetectorError(f"{model} is not the face detector YuNet.", hint=HINT) from error

    def detect(self, pixels: np.ndarray, *, any_way_up: bool = True, sides: tuple[int, ...] = SIDES) -> list[Face]:
        """The faces in H×W×3 uint8 RGB ``pixels``, the largest first; ``sides`` are as :data:`SIDES`.

        One that lies on its side or upside down is found with its points in the wrong places. With ``any_way_up`` each
        face that is not surely upright is detected in four turns, and taken as it scores highest.
        """
        faces: list[Face] = []
        for side in sides:
            faces = self._find(pixels, side)
            if faces:
                break
        if max(pixels.shape[:2]) >= FINE_SIDE:
            faces += [face for face in self._find(pixels, FINE_SIDE) if not any(map(face.overlaps, faces))]
        refined = [self._upright(pixels, face) if any_way_up else self._refined(pixels, face)[0] for face in faces]
        return sorted(refined, key=lambda face: -face.area)

    def _upright(self, pixels: np.ndarray, face: Face) -> Face:
        again, upright = self._refined(pixels, face)
        if not upright and (turned := self._turned(pixels, face)) is not None:
            # Its points come of a small square: one more refinement makes them as exact as an upright face's.
            again, _ = self._refined(pixels, self._refined(pixels, turned)[0])
        return again

    def largest(self, pixels: np.ndarray) -> Face | None:
        """The face that :meth:`detect` gives first, or None; where it can be told quickly, others are not searched for.

        Its box is then that of a coarser search, a few pixels off.
        """
        face = self._plainly_largest(pixels)
        if face is None:
            return next(iter(self.detect(pixels)), None)
        return self._upright(pixels, face)

    def _plainly_largest(self, pixels: np.ndarray) -> Face | None:
        found = sorted(self._find(pixels, COARSE_SIDE, RIVAL), key=lambda face: -face.area)
        face = next((face for face in found if face.score >= self._threshold), None)
        if face is None or max(face.box[2:]) * COARSE_SIDE < COARSE_FACE * max(pixels.shape[:2]):
            return None
        rivals = (other for other in found if other.area >= RIVAL_AREA * face.area and other is not face)
        return face if all(map(face.overlaps, rivals)) else None

    def _find(self, pixels: np.ndarray, longest: int, threshold: float | None = None) -> list[Face]:
        height, width = pixels.shape[:2]
        scale = longest / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(pixels, size, interpolation=method)
        back = np.array([width / size[0], height / size[1]])
        return [
            Face(tuple(map(float, row[:4] * np.tile(back, 2))), row[4:14].reshape(5, 2) * back, float(row[14]))
            for row in self._net.find(resized, threshold)
        ]

    def _refined(self, pixels: np.ndarray, face: Face) -> tuple[Face, bool]:
        """The face with its points refined, and whether the refinements leave no doubt that it is upright."""
        points_found, scores = [], []
        for template in REFINEMENTS:
            try:
                upright, matrix = template.align(pixels, face.landmarks), template.matrix(face.landmarks)
            except PictureError:
                return face, False
            back = cv2.invertAffineTransform(matrix)
            for mirrored in (False, True):
                found = self._points(upright, template, mirrored=mirrored)
                if found is not None:
                    points, score = found
                    points_found.append(points @ back[:, :2].T + back[:, 2])
                    scores.append(score)
        sure = len(points_found) == 2 * len(REFINEMENTS) and np.mean(scores) >= UPRIGHT
        return (replace(face, landmarks=np.mean(points_found, axis=0)) if points_found else face), bool(sure)

    def _points(
        self, upright: np.ndarray, template: CropTemplate, *, mirrored: bool
    ) -> tuple[np.ndarray, float] | None:
        """The points and score of the face that ``template`` has brought to the middle, if it is found there again."""
        seen = np.ascontiguousarray(upright[:, ::-1]) if mirrored else upright
        faces = self._find(seen, template.size)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area)
        points = largest.landmarks.astype(float)
        if mirrored:
            points[:, 0] = template.size - 1 - points[:, 0]
            points = points[MIRRORED]
        (right, left), found = template.eyes, points[:2]
        near = np.linalg.norm(found - template.eyes, axis=1) < SAME_FACE * np.linalg.norm(left - right)
        return (points, largest.score) if near.all() else None

    def _turned(self, pixels: np.ndarray, face: Face) -> Face | None:
        """The face as it is found in the turn in which it scores highest, or None if that is as the picture lies."""
        template = CropTemplate(TURN_SIZE)
        middle = np.array(face.box[:2]) + np.array(face.box[2:]) / 2
        scale = TURN_ROOM * max(face.box[2:]) / TURN_SIZE
        try:
            # With these for its eyes, the template shows the square about the box as it lies.
            square = template.align(pixels, middle + scale * (template.eyes - TURN_SIZE / 2))
        except PictureError:
            return None
        best, quarters = None, 0
        for turn in range(4):
            for found in self._find(np.ascontiguousarray(np.rot90(square, -turn)), TURN_SIZE):
                central = _middle_inside((TURN_SIZE / 2, TURN_SIZE / 2, 0, 0), found.box)
                if central and (best is None or found.score > best.score):
                    best, quarters = found, turn
        if best is None or not quarters:
            return None

        def back(points: np.ndarray) -> np.ndarray:
            # As complex numbers, a quarter turn is a product.
            offsets = (points - (TURN_SIZE - 1) / 2) @ [1, 1j] * (-1j) ** quarters
            square_points = np.stack([offsets.real, offsets.imag], axis=1) + (TURN_SIZE - 1) / 2
            return middle + scale * (square_points - TURN_SIZE / 2)

        x, y, width, height = best.box
        corners = back(np.array([[x, y], [x + width, y + height]]))
        left_top, size = corners.min(axis=0), np.ptp(corners, axis=0)
        box = tuple(map(float, (*left_top, *size)))
        return Face(box, back(best.landmarks), best.score, turn=90 * quarters)


def _middle_inside(inner: tuple[float, float, float, float], outer: tuple[float, float, float, float]) -> bool:
    across, down = inner[0] + inner[2] / 2 - outer[0], inner[1] + inner[3] / 2 - outer[1]
    return 0 <= across <= outer[2] and 0 <= down <= outer[3]
