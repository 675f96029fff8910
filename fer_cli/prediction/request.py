"""What a person can ask of a prediction; importable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_doc import Doc

from fer_cli.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What to look at, what to write, and where.

    Raises :class:`~fer_cli.errors.UsageError` for what cannot be meant.
    """

    out: Annotated[
        Path | None, Doc("A file of rows: .csv, .jsonl or .parquet. Default: a table here, or rows to a pipe.")
    ] = None
    format: Annotated[
        Literal["csv", "jsonl", "parquet"] | None, Doc("The rows' format. Default: by the ending of --out, else csv.")
    ] = None
    errors: Annotated[
        Path | None, Doc("A CSV of what was left out, and why. Default: beside --out, by its name with .errors.csv.")
    ] = None
    resume: Annotated[bool, Doc("Go on with an interrupted prediction into --out; if there is none, begin.")] = False
    overwrite: Annotated[bool, Doc("Replace what is there.")] = False
    detector: Annotated[
        Literal["auto", "none"], Doc("auto: find the faces. none: each picture is a face already cropped.")
    ] = "auto"
    detector_model: Annotated[Path | None, Doc("YuNet's .onnx file. Default: FER_YUNET, else downloaded once.")] = None
    faces: Annotated[Literal["all", "largest"], Doc("Which faces of a picture.")] = "all"
    max_pixels: Annotated[
        int, Doc("Pictures with more pixels than this are left out: a small file can claim more than memory holds.")
    ] = 100_000_000
    every: Annotated[
        str, Doc("Which frames of a video: one every so many seconds (0.5s), or every so many frames (10).")
    ] = "1"
    camera: Annotated[int | None, Doc("Watch the camera of this number, counted from 0, until Ctrl-C.")] = None
    smooth: Annotated[
        float | None,
        Doc("Average a video's probabilities over the past; a frame counts half after so many seconds."),
    ] = None
    timeline: Annotated[
        Path | None, Doc("A plot of a video over time. Default: beside --out, by its name with .timeline.png.")
    ] = None
    annotate: Annotated[
        Path | None, Doc("A folder for pictures and videos with boxes, labels and bars drawn on them.")
    ] = None
    crops: Annotated[Path | None, Doc("A folder for the faces as the model sees them.")] = None
    sort_into: Annotated[Path | None, Doc("A folder for links to the pictures, in a folder an expression.")] = None

    def __post_init__(self):
        if self.max_pixels < 1:
            raise UsageError(f"--max-pixels {self.max_pixels}: 1 or more are possible.")
        if self.camera is not None and self.camera < 0:
            raise UsageError(f"--camera {self.camera}: cameras are counted from 0.")
        if self.smooth is not None and not 0 < self.smooth < float("inf"):
            raise UsageError(f"--smooth {self.smooth}: more than 0 seconds are possible.")
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite: one goes on, the other begins anew.")
        if self.resume and self.out is None:
            raise UsageError("--resume goes on with a file.", hint="Type the --out FILE that was interrupted.")
        if self.format == "parquet" and self.out is None:
            raise UsageError("--format parquet: Parquet needs a file.", hint="Type --out FILE.parquet.")
        if self.camera is not None and (self.annotate is not None or self.sort_into is not None or self.resume):
            raise UsageError(
                "--camera: what a camera saw is gone, and cannot be resumed, drawn on or linked to.",
                hint="--crops keeps its faces.",
            )
