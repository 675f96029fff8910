"""Looking at one shot: its pixels, the faces in them, and a crop of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from fer_cli.errors import PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.crop import Crop, crop_face, crop_faces
from fer_cli.faces.decode import MAX_PIXELS, decode
from fer_cli.faces.detect import Detector
from fer_cli.prediction.outcomes import Missed
from fer_cli.prediction.shots import Shot

#: A note on a face that was turned upright.
LYING = "it lies on its side or upside down: taken as turned by {} degrees"

Faces = Literal["largest", "all"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A shot, without its pixels, with the crops of its faces, the largest first, or why there is none."""

    shot: Shot
    crops: tuple[Crop, ...] = ()
    missed: tuple[Missed, ...] = ()


class Looker:
    """Finds and crops faces, as the model's ``face_crop`` wants them; any number of threads may look at once.

    ``detector_model`` None means that each picture is a face already cropped. Raises
    :class:`~fer_cli.errors.DetectorError` if it is not the detector's file.
    """

    def __init__(
        self,
        face_crop: Mapping[str, Any],
        detector_model: Path | None,
        *,
        faces: Faces = "all",
        max_pixels: int = MAX_PIXELS,
    ):
        self._template = CropTemplate(face_crop["size"], face_crop["margin"])
        self._largest = faces == "largest"
        self._max_pixels = max_pixels
        # Several threads may ask it at once.
        self._detector = None if detector_model is None else Detector(detector_model)

    def __call__(self, shot: Shot) -> Seen:
        """What is to be seen in ``shot``; never an exception for a picture that cannot be used."""
        bare = Shot(shot.index, shot.path, shot.subject, None, shot.frame, shot.time, shot.problem, shot.end)
        if shot.problem is not None:
            return Seen(bare, missed=(Missed(shot.path, shot.problem, frame=shot.frame),))
        if shot.end:
            return Seen(bare)
        notes: list[Missed] = []

        def note(text: str) -> None:
            notes.append(Missed(shot.path, text, fault=False))

        try:
            pixels = shot.pixels
            if pixels is None:
                pixels = decode(shot.path, max_pixels=self._max_pixels, note=note)
            crops = self.crops(pixels)
            # A video on its side would say so of every frame.
            turned = enumerate(crops) if shot.frame is None else ()
            notes += [
                Missed(shot.path, LYING.format(crop.face.turn), fault=False, number=number)
                for number, crop in turned
                if crop.face is not None and crop.face.turn
            ]
            return Seen(bare, tuple(crops), tuple(notes))
        except PictureError as error:
            # A face that leaves the view of a camera is no fault of the video.
            fault = shot.frame is None
            return Seen(bare, missed=(*notes, Missed(shot.path, error.message, fault=fault, frame=shot.frame)))
        except (MemoryError, cv2.error):
            return Seen(bare, missed=(*notes, Missed(shot.path, "too large for this machine", frame=shot.frame)))

    def crops(self, pixels: np.ndarray) -> list[Crop]:
        """A crop of each face in H×W×3 uint8 RGB ``pixels``, or of the largest.

        Raises :class:`~fer_cli.errors.PictureError` if there is none.
        """
        if self._detector is None:
            return [crop_face(pixels, self._template)]
        if self._largest:
            return [crop_face(pixels, self._template, detector=self._detector)]
        return crop_faces(pixels, self._template, self._detector)

    def crop_of(self, path: Path) -> Crop:
        """The largest face of a picture file.

        Raises :class:`~fer_cli.errors.PictureError` if it cannot be read or has none.
        """
        return self.crops(decode(path, max_pixels=self._max_pixels))[0]
