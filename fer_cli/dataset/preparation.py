"""The settings of a preparation, which the command line shows as flags of every ``fer prepare CORPUS``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_doc import Doc

from fer_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a corpus becomes a dataset; None means the corpus's published protocol."""

    classes: Annotated[
        str | None,
        Doc(
            "Class set: 6, 7-contempt, 7-neutral, 8, found, or a list such as neutral,happiness. "
            "Default: the published one, or every expression found."
        ),
    ] = None
    neutral: Annotated[
        Literal["first", "none"],
        Doc(
            "first: pair each picture with a neutral one of its subject, that of its own sequence or session where "
            "neutral is no class, of another for all classes where it is. none: no pairs."
        ),
    ] = "first"
    apex_frames: Annotated[
        int | None, Doc("How many last frames of a sequence are its apex. Default: the published number.")
    ] = None
    folds: Annotated[int | None, Doc("How many subject-independent folds. Default: the published number.")] = None
    fold_rule: Annotated[
        Literal["id-step", "stratified-group"] | None,
        Doc(
            "id-step: sorted subject IDs dealt out in turn, as published for CK+. "
            "stratified-group: folds balanced by class."
        ),
    ] = None
    size: Annotated[int, Doc("Side of the square crops, in pixels.")] = 224
    margin: Annotated[float, Doc("Room around the face, as a part of the tight crop's side.")] = 0.15
    detector: Annotated[
        Literal["auto", "none"],
        Doc("auto: the owners' landmarks where they ship them, else YuNet. none: the pictures are cropped faces."),
    ] = "auto"
    detector_model: Annotated[
        Path | None,
        Doc("YuNet's .onnx file. Default: the environment variable FER_YUNET, else downloaded once."),
    ] = None
    strict: Annotated[bool, Doc("Stop at anything that is not as it should be, instead of leaving it out.")] = False
    jobs: Annotated[int | None, Doc("How many processes. Default: one a core.")] = None
    overwrite: Annotated[bool, Doc("Replace a dataset prepared with other settings.")] = False

    def __post_init__(self):
        if self.apex_frames is not None and self.apex_frames < 1:
            raise UsageError(f"--apex-frames {self.apex_frames}: at least 1 is needed.")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: at least 1 is needed.")
