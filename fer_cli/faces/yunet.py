"""YuNet, the network that finds faces, and where its file comes from.

W. Wu, H. Peng, S. Yu, *YuNet: A Tiny Millisecond-level Face Detector*, 2023, doi 10.1007/s11633-023-1423-y. The
network's file is OpenCV's. ONNX Runtime takes half the time over it that OpenCV's own engine takes; its output is
turned into boxes as OpenCV's ``FaceDetectorYN`` does, which a test compares it with.
"""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from fer_cli.errors import DetectorError, UnreachableDetectorError, first_sentence
from fer_cli.files import LFS_POINTER, is_lfs_pointer, open_regular, read_bytes
from fer_cli.progress import Progress, silent

#: The three grids on which faces are looked for, by the pixels from one place of the grid to the next.
STRIDES = (8, 16, 32)
#: Boxes that share more of their area than this are one face.
SAME = 0.3
MOST = 5000
#: What it gives for each place: two scores, the box, and the five points.
OUTPUTS = ("cls", "obj", "bbox", "kps")
#: What makes of them a row for each place that scores at least the threshold, in pixels: the box's left, top, width and
#: height, the points, and the score.
ROWS = """
rows (float[1, places, 1] cls, float[1, places, 1] obj, float[1, places, 4] bbox, float[1, places, 10] kps,
      float[places, 2] corner, float[places, 1] stride, float[1] threshold) => (float[1, seen, 15] rows)
<float zero = {0}, float half = {0.5}, float one = {1}, int64[1] flat = {-1}>
{
    class_score = Clip(cls, zero, one)
    object_score = Clip(obj, zero, one)
    both_scores = Mul(class_score, object_score)
    score = Sqrt(both_scores)
    to_middle, log_size = Split<axis = 2>(bbox)
    middle_on_grid = Add(to_middle, corner)
    middle = Mul(middle_on_grid, stride)
    size_on_grid = Exp(log_size)
    size = Mul(size_on_grid, stride)
    half_size = Mul(size, half)
    start = Sub(middle, half_size)
    corners = Concat<axis = 1>(corner, corner, corner, corner, corner)
    points_on_grid = Add(kps, corners)
    points = Mul(points_on_grid, stride)
    row_of_each = Concat<axis = 2>(start, size, points, score)
    below = Less(score, threshold)
    at_least = Not(below)
    sees = Reshape(at_least, flat)
    rows = Compress<axis = 1>(row_of_each, sees)
}
"""
#: Places that score at least this, and whose boxes overlap a face's by more than this, see it.
VOTES, SAME_BOX = 0.5, 0.5
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
        _give_rows(network.graph)
        options = onnxruntime.SessionOptions()
        # Whoever has many pictures looks at several at once.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Pictures of many sizes come, and a plan of memory for each would be kept for ever. (Without its arena too, on
        # whose lock threads wait, it takes 3 % longer.)
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            network.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._threshold = threshold

    def find(self, pixels: np.ndarray, threshold: float | None = None, *, average: bool = False) -> np.ndarray:
        """N×15 for the faces in H×W×3 uint8 RGB ``pixels``, the surest first; ``threshold`` replaces the network's.

        A row is the box's left, top, width and height, the five points' x and y, and the score. With ``average`` the
        points are averaged over the network's places: several places of the grids see one face, and each is off by
        something else, so that their mean, by score, is nearer.
        """
        threshold = self._threshold if threshold is None else threshold
        rows = self._rows(pixels, threshold)
        # OpenCV compares boxes of whole pixels.
        kept = cv2.dnn.NMSBoxes(rows[:, :4].astype(int).tolist(), rows[:, 14].tolist(), threshold, SAME, top_k=MOST)
        # Row by row: an index array, as a call of OpenCV does, hands Python's lock to another thread.
        found = [rows[place] for place in np.ravel(kept).tolist()]
        return np.array([_averaged(row, rows) for row in found] if average else found).reshape(-1, 15)

    def _rows(self, pixels: np.ndarray, threshold: float) -> np.ndarray:
        height, width = pixels.shape[:2]
        # The network halves a picture five times.
        bottom, right = -height % 32, -width % 32
        if bottom or right:
            pixels = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, borderType=cv2.BORDER_CONSTANT)
        planes = np.empty((3, *pixels.shape[:2]), np.uint8)
        # Blue first, as OpenCV has them.
        cv2.split(pixels, list(planes[::-1]))
        corner, stride = _grid(*planes.shape[1:])
        given = {"corner": corner, "stride": stride, "threshold": np.array([threshold], np.float32)}
        [[rows]] = self._session.run(["rows"], {self._input: planes[None], **given})
        return rows


@lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """N×2 and N×1 float32: the column and row of each place of the three grids, and its stride."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride].reshape(2, -1)
        corners.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((len(rows), 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _averaged(row: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The row with the mean points of all ``rows`` that see its face."""
    score = rows[:, 14]
    votes = score * ((score >= VOTES) & (_intersection_over_union(row, rows) > SAME_BOX))
    total = float(votes.sum())
    return np.concatenate([row[:4], votes @ rows[:, 4:14] / total, row[14:]]) if total else row


def _intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """N intersections over union of a box with N boxes: left, top, width, height."""
    x, y, wide, high = box[:4].tolist()
    left, top, width, height = boxes[:, :4].T
    across = np.minimum(left + width, x + wide) - np.maximum(left, x)
    down = np.minimum(top + height, y + high) - np.maximum(top, y)
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    return shared / (width * height + wide * high - shared)


def _take_bytes_of_any_size(graph: onnx.GraphProto) -> None:
    """Have the network take 1×3×H×W uint8: the file is made for 640×640 float32, its layers take any size.

    Made float32 inside the graph, in memory that is used again, the numbers are the same; done outside it took a third
    of the whole time.
    """
    given = graph.input[0].type.tensor_type
    for dimension, name in zip(given.shape.dim, ("", "", "height", "width"), strict=True):
        if name:
            dimension.dim_param = name
    del graph.value_info[:]
    given.elem_type = onnx.TensorProto.UINT8
    pixels = graph.input[0].name
    for node in graph.node:
        node.input[:] = [AS_FLOAT if name == pixels else name for name in node.input]
    graph.node.insert(0, onnx.helper.make_node("Cast", [pixels], [AS_FLOAT], to=onnx.TensorProto.FLOAT))


def _give_rows(graph: onnx.GraphProto) -> None:
    """Have the network give :data:`ROWS`, while other threads have Python's lock.

    Raises ``ValueError`` if it lacks one of its outputs.
    """
    for kind in OUTPUTS:
        names = [f"{kind}_{stride}" for stride in STRIDES]
        if not set(names) <= {output.name for output in graph.output}:
            raise ValueError("another network")
        graph.node.append(onnx.helper.make_node("Concat", names, [kind], axis=1))
    rows = onnx.parser.parse_graph(ROWS)
    graph.node.extend(rows.node)
    graph.initializer.extend(rows.initializer)
    graph.input.extend(value for value in rows.input if value.name not in OUTPUTS)
    del graph.output[:]
    graph.output.extend(rows.output)


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
            f"{REPOSITORY} ({type(error).__name__}: {first_sentence(error)}).",
            hint=HINT,
        ) from error
    if hashlib.sha256(read_bytes(file)).hexdigest() != SHA256:
        # The cache shows a link; only without what it links to does the hub download anew.
        raise DetectorError(
            f"{file.resolve()} is not the file that was expected: its checksum differs.", hint=f"Remove it. {HINT}"
        )
    return file
