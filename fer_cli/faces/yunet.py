"""YuNet, run.

W. Wu, H. Peng, S. Yu, *YuNet: A Tiny Millisecond-level Face Detector*, 2023, doi 10.1007/s11633-023-1423-y. The
network's file is OpenCV's. ONNX Runtime takes half the time over it that OpenCV's own engine takes; what it gives is
turned into boxes as OpenCV's ``FaceDetectorYN`` does, which a test holds it to.
"""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime

from fer_cli.files import read_bytes

#: The three grids on which faces are looked for, by the pixels from one place of the grid to the next.
STRIDES = (8, 16, 32)
#: Boxes that share more of their area than this are one face.
SAME = 0.3
MOST = 5000


class YuNet:
    """The network in the file ``model``; faces that score less than ``threshold`` are none.

    Raises whatever onnx and ONNX Runtime raise, if the file is no network, and ``ValueError`` if it is another one.
    """

    def __init__(self, model: Path, threshold: float):
        # From bytes, so that no other file is asked for.
        network = onnx.load_from_string(read_bytes(model))
        # The file is made for 640×640 pixels; its layers take any size.
        for value, names in (
            *((value, ("", "", "height", "width")) for value in network.graph.input),
            *((value, ("", "places", "")) for value in network.graph.output),
        ):
            for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
                if name:
                    dimension.dim_param = name
        del network.graph.value_info[:]
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

    def find(self, pixels: np.ndarray) -> np.ndarray:
        """N×15 for the faces in H×W×3 uint8 RGB ``pixels``, the surest first.

        A row is the box's left, top, width and height, the five points' x and y, and the score.
        """
        height, width = pixels.shape[:2]
        # The network halves a picture five times.
        padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.float32)
        padded[:height, :width] = pixels[..., ::-1]
        found = self._session.run(self._outputs, {self._input: padded.transpose(2, 0, 1)[None]})
        across = padded.shape[1]
        rows = np.concatenate(
            [
                self._on_grid(stride, across // stride, *(part[0] for part in found[4 * place : 4 * place + 4]))
                for place, stride in enumerate(STRIDES)
            ]
        )
        # OpenCV compares boxes of whole pixels.
        kept = cv2.dnn.NMSBoxes(
            rows[:, :4].astype(int).tolist(), rows[:, 14].tolist(), self._threshold, SAME, top_k=MOST
        )
        return rows[np.asarray(kept, dtype=int).ravel()]

    def _on_grid(
        self, stride: int, across: int, cls: np.ndarray, obj: np.ndarray, box: np.ndarray, points: np.ndarray
    ) -> np.ndarray:
        score = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        places = np.flatnonzero(score >= self._threshold)
        corner = np.stack([places % across, places // across], axis=1).astype(np.float32)
        middle, size = (corner + box[places, :2]) * stride, np.exp(box[places, 2:]) * stride
        marks = (points[places].reshape(-1, 5, 2) + corner[:, None]) * stride
        return np.concatenate([middle - size / 2, size, marks.reshape(-1, 10), score[places, None]], axis=1)
