"""A run of a prediction: sources, pipeline and sinks put together, resumed or divided among processes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from fer_cli import distributed
from fer_cli.errors import FerError, UsageError
from fer_cli.faces.video import Every
from fer_cli.files import disk_full_reason, locked
from fer_cli.prediction import pipeline
from fer_cli.prediction.checkpoint import Checkpoint
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.pipeline import FaceClassifier, FaceExtractor, NeutralFinder
from fer_cli.prediction.results import FrameResult, Summary, columns, smoothed
from fer_cli.prediction.sinks import Sink
from fer_cli.prediction.sinks.images import AnnotatedPictures, FaceCrops, SortedLinks
from fer_cli.prediction.sinks.rows import SkippedRows, Timeline, format_of
from fer_cli.prediction.sources import (
    CAMERA,
    Input,
    Reading,
    Source,
    end_on_interrupt,
    list_inputs,
    open_sources,
    read_frames,
)
from fer_cli.progress import Progress, silent

#: Called with each result.
Listener = Callable[[FrameResult], None]
#: Lists all inputs again, from the first.
Relist = Callable[[], Iterator[Input]]


def check(names: Sequence[str], options: PredictOptions) -> PredictOptions:
    """The options with the default places of files filled in, after all checks that need no model.

    Raises :class:`~fer_cli.errors.UsageError` for contradictions and for what would be overwritten, and
    :class:`~fer_cli.errors.PictureError` for a source that is not there.
    """
    if (options.camera is None) == (not names):
        raise UsageError(
            "--camera and sources: one of them is possible."
            if names
            else "SOURCE: name pictures, videos or folders, or type --camera 0."
        )
    sources = _open(names, options)
    if any(source.live for source in sources) and (options.annotate or options.sort_into or options.resume):
        raise UsageError(
            "--camera: frames of a camera are not stored, and cannot be resumed, annotated or linked to.",
            hint="--crops stores its faces.",
        )
    format_of(options.out, options.format)
    if distributed.world_size() > 1 and not (_is_file(options.out) and all(source.replayable for source in sources)):
        raise UsageError(
            "Several processes need an --out FILE to write together, and sources that each can list.",
            hint="Type --out FILE; for names on standard input, put them into a list.txt.",
        )
    if _is_file(options.out):
        options = replace(
            options,
            errors=options.errors or options.out.with_name(f"{options.out.stem}.errors.csv"),
            timeline=options.timeline or options.out.with_name(f"{options.out.stem}.timeline.png"),
        )
    with _locked_outputs(options):
        _refuse_overwriting(options)
    return options


def run(
    names: Sequence[str],
    options: PredictOptions,
    classifier: FaceClassifier,
    *,
    finder: NeutralFinder | None = None,
    model: str = "",
    stream: TextIO | None = None,
    show: Listener = lambda _: None,
    progress: Progress = silent,
) -> Summary:
    """Predict on the sources ``names`` as :func:`check`-ed ``options`` ask.

    ``finder`` is fitted here. ``model`` is what tells the classifier from others, for ``options.resume``. Without
    ``options.out`` the rows go to ``stream`` if there is one; ``show`` is called with each result in order. Under
    torchrun each process takes its share of the inputs and the first writes the tables. Raises
    :class:`~fer_cli.errors.FerError` if another process predicts into one of the same files or folders, or there is no
    room there.
    """
    with _locked_outputs(options):
        # Another prediction into the same may have ended since the options were checked.
        _refuse_overwriting(options)
        try:
            return _run(names, options, classifier, finder, model, stream, show, progress)
        except FerError as error:
            if disk_full_reason(error) and _is_file(options.out) and Checkpoint(options.out).exists:
                error.hint = "Make room there, then type the same line with --resume to continue."
            raise


def _run(
    names: Sequence[str],
    options: PredictOptions,
    classifier: FaceClassifier,
    finder: NeutralFinder | None,
    model: str,
    stream: TextIO | None,
    show: Listener,
    progress: Progress,
) -> Summary:
    sources = _open(names, options)
    live = any(source.live for source in sources)
    face_crop = classifier.preprocessing.face_crop
    extract = FaceExtractor.of(
        face_crop,
        options.detector,
        options.detector_model,
        progress=progress,
        faces=options.faces,
        max_pixels=options.max_pixels,
        quick=not classifier.paired,
    )
    summary, sinks = Summary(), _sinks(options, classifier.classes, stream)

    def results(inputs: Iterable[tuple[int, Input]], again: Relist | None) -> Iterator[FrameResult]:
        """The results of ``inputs``; ``again`` lists all inputs once more, None where they can be read only once."""
        if classifier.paired and finder is not None:
            finder.fit(None if live or again is None else read_frames(sources, enumerate(again())), extract)
        found = pipeline.predict(read_frames(sources, inputs), extract, classifier, finder)
        if live:
            found = end_on_interrupt(found)
        return found if options.smooth is None else smoothed(found, options.smooth)

    if options.overwrite and distributed.rank() == 0:
        # Made only where there is something to write: earlier ones would mislead.
        for path in (options.errors, options.timeline):
            if path is not None and path.is_file():
                path.unlink()
    if _is_file(options.out):
        settings = {
            "sources": list(names),
            "model": model,
            "detector": "none" if pipeline.is_cropped(face_crop, options.detector) else options.detector,
            **{name: getattr(options, name) for name in ("faces", "max_pixels", "every", "smooth")},
        }
        _run_with_checkpoint(sources, results, sinks, settings, options, [summary.count, show], progress)
        return summary
    again = (lambda: list_inputs(sources)) if all(source.replayable for source in sources) else None
    found = results(enumerate(list_inputs(sources)), again)
    total = None if again is None else sum(1 for _ in again())
    _write(found, sinks, [summary.count, show, _count(progress, total)])
    return summary


def _run_with_checkpoint(
    sources: Sequence[Source],
    results: Callable[..., Iterator[FrameResult]],
    sinks: Sequence[Sink],
    settings: dict[str, Any],
    options: PredictOptions,
    listeners: Sequence[Listener],
    progress: Progress,
) -> None:
    checkpoint = Checkpoint(options.out)
    rank, processes = distributed.rank(), distributed.world_size()
    if rank == 0:
        checkpoint.begin({**settings, "processes": processes}, resume=options.resume)
        checkpoint.list_inputs(list_inputs(sources), progress)
    distributed.barrier()
    total = checkpoint.list_inputs(())
    try:
        found = checkpoint.store(results(checkpoint.remaining(rank, processes), checkpoint.inputs), rank)
        _write(found, [sink for sink in sinks if sink.immediate], [_count(progress, total)])
    except FerError:
        if rank == 0 and checkpoint.empty:
            # Nothing is lost, and the line, corrected, should not find itself in its own way.
            checkpoint.remove()
        raise
    distributed.barrier()
    distributed.shutdown()
    if rank == 0:
        _write(checkpoint.results(), [sink for sink in sinks if not sink.immediate], listeners)
        checkpoint.remove()


def _write(results: Iterable[FrameResult], sinks: Sequence[Sink], listeners: Sequence[Listener]) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(sink).write for sink in sinks]
        for result in results:
            for take in (*writers, *listeners):
                take(result)


def _count(progress: Progress, total: int | None) -> Listener:
    def count(result: FrameResult) -> None:
        frame = result.frame
        facts = {} if frame.number is None else {"frame": str(frame.number)}
        progress("predicting", frame.index + frame.closes, total, **facts)

    return count


def _sinks(options: PredictOptions, classes: Sequence[str], stream: TextIO | None) -> list[Sink]:
    sinks: list[Sink] = []
    if options.annotate is not None:
        sinks.append(AnnotatedPictures(options.annotate, max_pixels=options.max_pixels))
    if options.crops is not None:
        sinks.append(FaceCrops(options.crops))
    if options.sort_into is not None:
        sinks.append(SortedLinks(options.sort_into))
    if (target := options.out or stream) is not None:
        sinks.append(format_of(options.out, options.format)(target, columns(classes)))
    if options.errors is not None:
        sinks.append(SkippedRows(options.errors))
    if options.timeline is not None:
        sinks.append(Timeline(options.timeline))
    return sinks


def _open(names: Sequence[str], options: PredictOptions) -> list[Source]:
    reading = Reading(Every.parse(options.every), options.max_pixels, options.folders)
    return open_sources(names if options.camera is None else [f"{CAMERA}{options.camera}"], reading)


@contextmanager
def _locked_outputs(options: PredictOptions) -> Iterator[None]:
    """Every file and folder that is written to, locked by this process."""
    with ExitStack() as stack:
        for place in {path.resolve(): path for path in options.places}.values():
            # A device or a pipe may have many writers.
            if place.is_dir() or _is_file(place):
                stack.enter_context(locked(place, "predicting into"))
        yield


def _refuse_overwriting(options: PredictOptions) -> None:
    if distributed.rank() != 0 or options.overwrite:
        return
    interrupted = _is_file(options.out) and Checkpoint(options.out).exists
    if options.resume and interrupted:
        return
    if options.resume and options.out.is_file():
        raise UsageError(
            f"{options.out} is complete: there is nothing to resume.",
            hint="Type --overwrite to make it again, or another name.",
        )
    for path in (options.out, options.errors, options.timeline, options.annotate, options.crops):
        if path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
            raise UsageError(f"{path} is there already.", hint="Type --overwrite to replace it, or another name.")
    if interrupted:
        raise UsageError(
            f"A prediction into {options.out} was interrupted.",
            hint="Type --resume to continue it, or --overwrite to begin anew.",
        )


def _is_file(out: Path | None) -> bool:
    """Whether the output is a file that can be interrupted and put in place whole: no device and no pipe."""
    return out is not None and (out.is_file() or not out.exists())
