"""``fer predict``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.bar import Bar
from rich.measure import Measurement
from rich.table import Table

from fer_cli.cli import choose
from fer_cli.cli.console import INTERRUPTED, SOME_SKIPPED, Bars, err, out, say, warn
from fer_cli.cli.settings import Device, with_settings
from fer_cli.errors import UsageError
from fer_cli.files import as_text
from fer_cli.models import INT8, Runtime
from fer_cli.prediction.options import AUTO, RAY, NeutralOptions, PredictOptions

if TYPE_CHECKING:
    from fer_cli.prediction.results import FacePrediction, Frame, FrameResult, Summary

#: The columns that a narrow terminal goes without, the first first.
DISPENSABLE = ("then", "compared with", "face", "confidence", "person")
#: A width in which any row is whole.
UNLIMITED = 100_000
#: The longest bar of an expression's share, in letters.
BAR = 24
#: The most rows shown on a terminal; all of them go to --out.
MAX_ROWS = 50
#: The most skipped inputs told on a terminal; all of them go to --errors.
MAX_WARNINGS = 20


@with_settings(options=PredictOptions, neutral=NeutralOptions)
def predict(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Pictures, videos, folders, patterns, lists, tars, Parquet, s3:// …; - for stdin.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="The run. Default: the latest in ./runs, else faces-quick, packaged.", rich_help_panel="Model"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Instead of a run, a model of the Hugging Face Hub (ORG/NAME[@REVISION]) or a folder.",
            rich_help_panel="Model",
        ),
    ] = None,
    # with_settings gives these.
    neutral: NeutralOptions = None,  # type: ignore[assignment]
    options: PredictOptions = None,  # type: ignore[assignment]
    runtime: Annotated[
        Runtime,
        typer.Option(
            help="Inference backend. auto: ONNX Runtime on a CPU where it is faster. int8: faster, less exact.",
            rich_help_panel="Compute",
        ),
    ] = "auto",
    device: Device = "auto",
) -> None:
    """Predict the expression of every face in pictures and videos: one row a face, with every class's probability.

    fer predict anna-1.jpg anna-2.jpg --neutral anna-at-rest.jpg

    fer predict ./images --out predictions.csv --report album.html

    fer predict ./album-2 --people ./people --out album-2.csv

    fer predict ./images --model ORG/NAME

    find . -name '*.jpg' -print0 | fer predict - --format jsonl | head

    fer predict 's3://bucket/faces-{000..012}.tar' --out faces.parquet

    fer predict clip.mp4 --every 0.5s --smooth 1 --out clip.parquet --annotate drawn
    """
    from fer_cli.faces.cascade import is_cropped
    from fer_cli.models.device import choose_device, device_name
    from fer_cli.prediction.checkpoint import Checkpoint
    from fer_cli.prediction.neutral import neutral_finder
    from fer_cli.prediction.people import known_people, people_finder
    from fer_cli.prediction.pipeline import settle_detector
    from fer_cli.prediction.predictor import open_model
    from fer_cli.prediction.run import check
    from fer_cli.prediction.run import run as run_prediction

    sources = sources or []
    options = check(sources, options)
    if model is not None and run is not None:
        raise UsageError("--run and --model: one of them is possible.")
    on_ray = options.engine == RAY
    # The actors of a cluster choose for themselves, where they are.
    chosen = "cpu" if on_ray else str(choose_device(device))
    opened = open_model(model or choose.model_to_use(run), device=chosen, runtime=runtime)
    classifier = opened.classifier
    if opened.labels:
        say(f"model     {opened.name}: {opened.labels}")
    elif model is not None and opened.run is not None:
        say(f"model     {opened.about}; trained on {opened.run.protocol.name}")
    say(f"device    {f'{device}, by Ray' if on_ray else device_name(classifier.device)}, {opened.runtime}")
    if on_ray and runtime == INT8:
        raise UsageError(
            f"--engine ray sends the network, and not the file of --runtime {INT8}.", hint="Type --runtime auto."
        )
    if on_ray and classifier.paired and neutral.neutral == AUTO and neutral.people is None:
        raise UsageError(
            "--engine ray reads each picture once, and --neutral auto, the default, would look for every person's most "
            "neutral picture first.",
            hint="Type --neutral mean, --neutral PICTURE, or --people DIR of a store that is there.",
        )
    if not classifier.paired and neutral.neutral != AUTO:
        say("neutral   not used: this model classifies single faces")
    face_crop = classifier.preprocessing.face_crop
    wanted, options = options.detector, settle_detector(face_crop, options)
    if is_cropped(face_crop, options.detector):
        say("faces     each whole picture is taken as a face")
    elif options.detector != wanted:
        say(
            "faces     found by scikit-image's LBP cascade, frontal ones only: YuNet's file is not here and cannot be "
            "downloaded (FER_YUNET or --detector-model names it)"
        )
    table = ResultTable(paired=classifier.paired, people=neutral.people is not None)
    try:
        with Bars() as bars:
            finder: Any = None
            people: Any = None
            if neutral.people is not None and on_ray:
                people = known_people(neutral, opened, tell=say)
            elif neutral.people is not None:
                people = people_finder(neutral, opened, device=chosen, tell=say, progress=bars)
            if people is not None and neutral.neutral == AUTO:
                finder = people
            elif classifier.paired:
                finder = neutral_finder(neutral, opened, device=chosen, tell=say, progress=bars)
            summary = run_prediction(
                sources,
                options,
                classifier,
                finder=finder,
                people=people,
                model=f"{opened.name} {device_name(classifier.device)} {opened.runtime.split()[0]} {neutral}"
                + (f" people {neutral.people}" if neutral.people is not None else ""),
                device=device,
                about=opened.about,
                stream=None if out.is_terminal else sys.stdout,
                show=table.add,
                progress=bars,
            )
    except KeyboardInterrupt:
        resumable = options.out is not None and Checkpoint(options.out).exists
        stored = " Results are stored: type the same line with --resume to continue." if resumable else ""
        say(f"\nStopped.{stored}")
        raise typer.Exit(INTERRUPTED) from None
    table.show(to_file=options.out is not None)
    _show_summary(summary, options)


def _show_summary(summary: "Summary", options: PredictOptions) -> None:
    if summary.faces:
        counts = Table("expression", box=None, padding=(0, 2, 0, 0), header_style="dim")
        counts.add_column("faces", justify="right")
        counts.add_column("share", justify="right")
        drawn = err.is_terminal and not err.options.ascii_only
        if drawn:
            counts.add_column()
        for label, number in summary.labels.most_common():
            share = number / summary.faces
            bars = [Bar(1, 0, share, width=BAR, color="cyan")] if drawn else []
            counts.add_row(label, str(number), f"{share:.0%}", *bars)
        err.print(counts)
    say(
        f"{summary.faces} faces in {summary.used} of {summary.frames} pictures"
        + (f": {options.out}" if options.out else "")
    )
    if options.report is not None:
        say(f"report    {options.report}")
    if summary.faults and options.errors is not None:
        say(f"skipped   {options.errors}")
    if err.is_terminal:
        _show_next(summary, options)
    if summary.faults:
        raise typer.Exit(SOME_SKIPPED if summary.faces else 1)


def _show_next(summary: "Summary", options: PredictOptions) -> None:
    """The faces worth a look, and the options that store or show more."""
    if len(summary.least_certain) > 1:
        rows = [_cells(frame, face) for frame, face in summary.least_certain]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("least certain", overflow="fold")
        for _ in range(3):
            table.add_column(no_wrap=True)
        for row in rows:
            table.add_row(row["file"], row["label"], row["confidence"], f"then {row['then']}" if row["then"] else "")
        err.print(table)
    more = [f"--out FILE.csv stores the rows{'' if options.report else ','}"] if options.out is None else []
    more += ["--report FILE.html shows the faces on a page"] if options.report is None else []
    if more and summary.faces:
        say(f"next      {' '.join(more)}")


class ResultTable:
    """The first rows, for a terminal; skipped inputs are told as they come."""

    def __init__(self, *, paired: bool = False, people: bool = False):
        self._columns = ["file", "face", "label", "confidence", "then", *(["compared with"] if paired else [])]
        self._columns[2:2] = ["person"] if people else []
        self._cells: list[dict[str, str]] = []
        self._warnings = self._rows = 0

    def add(self, result: "FrameResult") -> None:
        """Add a result."""
        for skipped in result.skipped:
            # Frames without a face are many, and nothing is wrong with them.
            if skipped.fault or result.frame.number is None:
                self._warnings += 1
                if self._warnings <= MAX_WARNINGS:
                    face = "" if skipped.face is None else f" face {skipped.face}"
                    warn(f"{_one_line(result.frame.path)}{face}: {skipped.reason}")
        self._rows += len(result.faces)
        self._cells += [_cells(result.frame, face) for face in result.faces[: MAX_ROWS - len(self._cells)]]

    def show(self, *, to_file: bool) -> None:
        """Print the table, where there is a terminal."""
        if self._warnings > MAX_WARNINGS:
            more = "" if to_file else "; --errors FILE takes them all"
            warn(f"and {self._warnings - MAX_WARNINGS} more like these{more}")
        if out.is_terminal:
            out.print(self._table())
            if self._rows > MAX_ROWS:
                say(f"… and {self._rows - MAX_ROWS} more" + ("" if to_file else "; --out FILE.csv takes them all"))

    def _table(self) -> Table:
        """The rows, in as many of the columns as the terminal has room for without cutting the others."""
        columns = list(self._columns)
        for spare in DISPENSABLE:
            table = _table_of(columns, self._cells)
            if Measurement.get(out, out.options.update(width=UNLIMITED), table).maximum <= out.width:
                break
            columns = [name for name in columns if name != spare]
        return _table_of(columns, self._cells)


def _table_of(columns: list[str], rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        # A name that is wider than the terminal is folded into the next line.
        table.add_column(name, overflow="fold", no_wrap=name != "file")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _cells(frame: "Frame", face: "FacePrediction") -> dict[str, str]:
    # A published model may have one class alone.
    second = sorted(face.probabilities.items(), key=lambda item: -item[1])[1:2]
    at = "" if frame.number is None else f" at {frame.time:.2f} s"
    sure = "" if face.neutral_confidence is None else f" ({face.neutral_confidence:.0%} neutral)"
    return {
        "file": _one_line(frame.path) + at,
        "face": str(face.number),
        "person": face.person,
        "label": face.label,
        "confidence": f"{face.confidence:.0%}",
        "then": "".join(f"{name} {share:.0%}" for name, share in second),
        "compared with": _one_line(Path(face.neutral).name) + sure if face.neutral else "",
    }


def _one_line(name: object) -> str:
    """A name as text whose letters are all printable: line breaks and control characters are written out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in as_text(name))
