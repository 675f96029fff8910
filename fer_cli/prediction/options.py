"""Options of a prediction, and of the neutral faces of paired models; importable without torch."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_doc import Doc
from annotated_types import Ge, Gt, Le, Lt

from fer_cli.errors import UsageError
from fer_cli.options import Panel, check_bounds, flag

AUTO, MEAN = "auto", "mean"
LOCAL, RAY = "local", "ray"
INPUT, NEUTRAL, OUTPUT, COMPUTE = Panel("Input"), Panel("Neutral face"), Panel("Output"), Panel("Compute")


@dataclass(frozen=True)
class NeutralOptions:
    """Where a paired model's neutral faces come from.

    Raises :class:`~fer_cli.errors.UsageError` for a value out of bounds, or one that ``neutral`` makes meaningless.
    """

    neutral: Annotated[
        str,
        Doc("auto (each person's most neutral picture), mean (the training's average), or a picture, folder or CSV."),
        NEUTRAL,
    ] = AUTO
    identity: Annotated[
        str | None,
        Doc("With auto, the encoder that tells people apart: sface, vggface2, a run, or a weights file."),
        NEUTRAL,
    ] = None
    identity_threshold: Annotated[
        float | None, Doc("With auto, the cosine distance up to which faces are one person's."), Gt(0), Le(2), NEUTRAL
    ] = None
    neutral_classifier: Annotated[
        str | None, Doc("With auto, the single-face model that scores how neutral a picture is."), NEUTRAL
    ] = None

    people: Annotated[
        Path | None,
        Doc("A folder in which people and their neutral faces are remembered."),
        NEUTRAL,
    ] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_bounds(self)
        names = ("identity", "identity_threshold", "neutral_classifier") if self.people is None else ()
        for name in names:
            if getattr(self, name) is not None and self.neutral != AUTO:
                raise UsageError(f"{flag(name)} is for --neutral auto, and --neutral is {self.neutral}.")


@dataclass(frozen=True)
class PredictOptions:
    """What is read, how, and what is written.

    Raises :class:`~fer_cli.errors.UsageError` for a value out of bounds, or values that contradict each other.
    """

    out: Annotated[
        Path | None, Doc("The table of faces: .csv, .jsonl or .parquet. Default: standard output."), OUTPUT
    ] = None
    format: Annotated[str | None, Doc("csv, jsonl or parquet. Default: by the ending of --out, else csv."), OUTPUT] = (
        None
    )
    schema: Annotated[
        Literal["fer", "pyfeat", "openface"], Doc("Name the table's columns as py-feat or OpenFace does."), OUTPUT
    ] = "fer"
    errors: Annotated[
        Path | None, Doc("A CSV of what was skipped, and why. Default: next to --out, .errors.csv."), OUTPUT
    ] = None
    resume: Annotated[bool, Doc("Continue an interrupted prediction into --out, or begin it."), OUTPUT] = False
    overwrite: Annotated[bool, Doc("Replace existing files."), OUTPUT] = False
    every: Annotated[str, Doc("Sample a video every so many seconds (0.5s) or frames (10)."), INPUT] = "1"
    camera: Annotated[int | None, Doc("Read this camera, counted from 0, until Ctrl-C."), Ge(0), INPUT] = None
    faces: Annotated[Literal["all", "largest"], Doc("Which faces of a picture."), INPUT] = "all"
    max_pixels: Annotated[int, Doc("Skip pictures with more pixels than this."), Ge(1), INPUT] = 100_000_000
    detector: Annotated[
        Literal["auto", "yunet", "cascade", "none"],
        Doc("auto: YuNet, else the cascade (frontal faces). none: pictures are crops."),
        INPUT,
    ] = "auto"
    detector_model: Annotated[
        Path | None, Doc("YuNet's .onnx file. Default: FER_YUNET, else downloaded once."), INPUT
    ] = None
    smooth: Annotated[
        float | None,
        Doc("Half-life in seconds over which a video's probabilities are averaged."),
        Gt(0),
        Lt(math.inf),
        OUTPUT,
    ] = None
    timeline: Annotated[
        Path | None, Doc("A plot of a video over time. Default: next to --out, .timeline.png."), OUTPUT
    ] = None
    annotate: Annotated[Path | None, Doc("A folder for annotated pictures and videos."), OUTPUT] = None
    crops: Annotated[Path | None, Doc("A folder for the aligned crops."), OUTPUT] = None
    sort_into: Annotated[Path | None, Doc("A folder for links to the pictures, by expression."), OUTPUT] = None
    engine: Annotated[Literal["local", "ray"], Doc("ray: the machines of a Ray cluster."), COMPUTE] = "local"
    ray_address: Annotated[
        str | None, Doc("With ray, the cluster. Default: RAY_ADDRESS, else this machine."), COMPUTE
    ] = None

    report: Annotated[
        Path | None, Doc("A page of the faces, by person and expression, and of videos over time: .html."), OUTPUT
    ] = None

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite: one continues, the other begins anew.")
        if self.resume and self.out is None:
            raise UsageError("--resume continues a file.", hint="Type the --out FILE that was interrupted.")
        if self.ray_address is not None and self.engine != RAY:
            raise UsageError(f"--ray-address is for --engine ray, and --engine is {self.engine}.")

    @property
    def folders(self) -> list[Path]:
        """The folders that are written to."""
        return [folder for folder in (self.annotate, self.crops, self.sort_into) if folder is not None]

    @property
    def places(self) -> list[Path]:
        """Every file and folder that is written to."""
        return [path for path in (self.out, self.errors, self.timeline, self.report) if path is not None] + self.folders
