"""A run of a prediction: sources, pipeline and sinks put together, resumed, on this machine or on a cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO, TypeGuard, cast

from fer_cli import distributed
from fer_cli.errors import FerError, UsageError
from fer_cli.extras import require
from fer_cli.faces.cascade import is_cropped
from fer_cli.faces.formats import is_video
from fer_cli.faces.video import Every
from fer_cli.files import disk_full_reason, locked
from fer_cli.prediction import pipeline
from fer_cli.prediction.checkpoint import Block, Checkpoint
from fer_cli.prediction.listing import to_path
from fer_cli.prediction.options import RAY, PredictOptions
from fer_cli.prediction.people.sheet import ProfilePictures
from fer_cli.prediction.pipeline import BATCH, Extract, FaceClassifier, FaceExtractor, Identify, NeutralFinder
from fer_cli.prediction.results import Frame, FrameResult, Summary, columns
from fer_cli.prediction.sinks import Sink
from fer_cli.prediction.sinks.album import AlbumPage
from fer_cli.prediction.sinks.images import AnnotatedPictures, FaceCrops, Reopen, SortedLinks
from fer_cli.prediction.sinks.rows import SkippedRows, Timeline, format_of
from fer_cli.prediction.sinks.thumbnails import Thumbnails
from fer_cli.prediction.sources import (
    CAMERA,
    Input,
    Reading,
    Source,
    end_on_interrupt,
    list_inputs,
    open_sources,
    read_frames,
    reopen,
)
from fer_cli.prediction.tracking import smoothed
from fer_cli.progress import Progress, silent

if TYPE_CHECKING:
    from fer_cli.prediction.actor import Job
    from fer_cli.prediction.people.finder import StoredPeople
    from fer_cli.prediction.people.snapshot import KnownPeople

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
    if any(is_video(to_path(name)) for name in names):
        # Those that turn up in folders are skipped with the same words.
        require("av", "A video")
    format_of(options.out, options.format)
    if options.report is not None and not _is_file(options.report):
        raise UsageError(f"--report {options.report}: it is no file.", hint="Type --report FILE.html.")
    if distributed.world_size() > 1:
        raise UsageError(
            f"torchrun has started {distributed.world_size()} processes, and each of them would predict on everything.",
            hint="Type fer predict … --engine ray, which divides the pictures; one machine needs neither.",
        )
    if options.engine == RAY:
        _check_for_ray(options, sources)
    if _is_file(options.out):
        options = replace(
            options,
            errors=options.errors or options.out.with_name(f"{options.out.stem}.errors.csv"),
            timeline=options.timeline or options.out.with_name(f"{options.out.stem}.timeline.png"),
        )
    with _locked_outputs(options):
        _refuse_overwriting(options)
    return options


def _check_for_ray(options: PredictOptions, sources: Sequence[Source]) -> None:
    from fer_cli.prediction.cluster import require_ray

    require_ray()
    if not (_is_file(options.out) and all(source.replayable for source in sources)):
        raise UsageError(
            "--engine ray needs an --out FILE, and sources that can be listed before anything is read.",
            hint="Type --out FILE; for names on standard input, put them into a list.txt.",
        )


def run(
    names: Sequence[str],
    options: PredictOptions,
    classifier: FaceClassifier,
    *,
    finder: NeutralFinder | None = None,
    people: "StoredPeople | KnownPeople | None" = None,
    model: str = "",
    device: str = "auto",
    about: str = "",
    stream: TextIO | None = None,
    show: Listener = lambda _: None,
    progress: Progress = silent,
) -> Summary:
    """Predict on the sources ``names`` as :func:`check`-ed ``options`` ask.

    ``finder`` and ``people`` are fitted here, once if they are the same. ``model`` is what tells the classifier from
    others, for ``options.resume``; ``about`` is its name for people, with its scores. Without ``options.out`` the rows
    go to ``stream`` if there is one; ``show`` is called with each result in order. With ``options.engine`` ray the
    classifier is on the CPU and sent to where there is the ``device``, the finder is fitted there, without the frames,
    and ``people`` have to be a :class:`~fer_cli.prediction.people.snapshot.KnownPeople`.

    Raises :class:`~fer_cli.errors.FerError` if another process predicts into one of the same files or folders, or there
    is no room there.
    """
    with _locked_outputs(options):
        # Another prediction into the same may have ended since the options were checked.
        _refuse_overwriting(options)
        try:
            return _run(names, options, classifier, finder, people, model, device, about, stream, show, progress)
        except FerError as error:
            if disk_full_reason(error) and _is_file(options.out) and Checkpoint(options.out).exists:
                error.hint = "Make room there, then type the same line with --resume to continue."
            raise


def _run(
    names: Sequence[str],
    options: PredictOptions,
    classifier: FaceClassifier,
    finder: NeutralFinder | None,
    people: "StoredPeople | KnownPeople | None",
    model: str,
    device: str,
    about: str,
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
    # Opened a second time where that is asked for: what is read twice must not disturb what is read in order.
    opened_again = cache(partial(_open, names, options))

    def reopened(frame: Frame) -> Path | IO[bytes]:
        return reopen(opened_again(), frame)

    summary, sinks = Summary(), _sinks(names, options, classifier.classes, about, stream, reopened, people)
    if people is not None:
        sinks += people.sinks()

    def results(inputs: Iterable[tuple[int, Input]], again: Relist | None) -> Iterator[FrameResult]:
        """The results of ``inputs``; ``again`` lists all inputs once more, None where they can be read only once."""
        fitted = [people, finder if classifier.paired else None]
        for each in dict.fromkeys(each for each in fitted if each is not None):
            each.fit(None if live or again is None else read_frames(sources, enumerate(again())), extract)
        extracting = extract if people is None else people.extracting(extract)
        identify = None if people is None else people.identify
        found = predict_inputs(sources, options.smooth, inputs, extracting, classifier, finder, identify=identify)
        return end_on_interrupt(found) if live else found

    if options.overwrite:
        # Made only where there is something to write: earlier ones would mislead.
        for path in (options.errors, options.timeline):
            if path is not None and path.is_file():
                path.unlink()
    listeners = [summary.count, show]
    if _is_file(options.out):
        settings = {
            "sources": list(names),
            "model": model,
            "detector": "none" if is_cropped(face_crop, options.detector) else options.detector,
            **{name: getattr(options, name) for name in ("faces", "max_pixels", "every", "smooth", "schema")},
            # Its thumbnails are there only for what was predicted with it.
            **({} if options.report is None else {"report": True}),
        }

        def here(checkpoint: Checkpoint, total: int) -> None:
            remaining = checkpoint.remaining()
            if people is not None:
                people.resume(checkpoint.results())
            found = checkpoint.store(results(remaining, checkpoint.inputs))
            _write(found, sinks, [*listeners, _count(progress, total)], before=checkpoint.results())

        def on_ray(checkpoint: Checkpoint, total: int) -> None:
            from fer_cli.prediction.actor import make_job

            predict = partial(predict_inputs, sources, options.smooth)
            chosen = finder if classifier.paired else None
            snapshot = cast("KnownPeople | None", people)
            job = make_job(predict, classifier, chosen, sinks, options, device, progress, people=snapshot)
            with ExitStack() as stack:
                kept = [stack.enter_context(sink) for sink in sinks if isinstance(sink, Thumbnails)]
                _predict_on_ray(job, checkpoint, total, options.ray_address, kept, progress)
            _write((), [sink for sink in sinks if not sink.immediate], listeners, before=checkpoint.results())

        if options.engine == RAY:
            # Blocks that a changed store gave would not go with the stored ones.
            read = {} if people is None else {"people": cast("KnownPeople", people).fingerprint}
            settings |= {"engine": RAY, "device": device, **read}
        work = on_ray if options.engine == RAY else here
        _run_with_checkpoint(sources, work, settings, options, progress)
        return summary
    again = (lambda: list_inputs(sources)) if all(source.replayable for source in sources) else None
    found = results(enumerate(list_inputs(sources)), again)
    total = None if again is None else sum(1 for _ in again())
    _write(found, sinks, [*listeners, _count(progress, total)])
    return summary


def predict_inputs(
    sources: Sequence[Source],
    smooth: float | None,
    inputs: Iterable[tuple[int, Input]],
    extract: Extract,
    classifier: FaceClassifier,
    finder: NeutralFinder | None,
    threads: int | None = None,
    identify: Identify | None = None,
) -> Iterator[FrameResult]:
    """The results of numbered ``inputs`` of the sources, in order, smoothed over time if that is asked for."""
    # Names on standard input and frames of a camera come one by one.
    together = pipeline.TOGETHER if all(source.replayable for source in sources) else 1
    found = pipeline.predict(read_frames(sources, inputs), extract, classifier, finder, threads, identify, together)
    return found if smooth is None else smoothed(found, smooth)


def _run_with_checkpoint(
    sources: Sequence[Source],
    work: Callable[[Checkpoint, int], None],
    settings: dict[str, Any],
    options: PredictOptions,
    progress: Progress,
) -> None:
    checkpoint = Checkpoint(cast(Path, options.out))
    checkpoint.begin(settings, resume=options.resume)
    try:
        total = checkpoint.list_inputs(list_inputs(sources), progress)
        work(checkpoint, total)
    except FerError:
        if checkpoint.empty:
            # Nothing is lost, and the line, corrected, should not find itself in its own way.
            checkpoint.remove()
        raise
    checkpoint.remove()


def _predict_on_ray(
    job: "Job",
    checkpoint: Checkpoint,
    total: int,
    address: str | None,
    thumbnails: Sequence[Thumbnails],
    progress: Progress,
) -> None:
    from fer_cli.prediction.cluster import BLOCK, BLOCKS, predict_blocks

    done = 0

    def blocks(actors: int) -> list[Block]:
        nonlocal done
        found = list(checkpoint.remaining_blocks(max(BATCH, min(BLOCK, -(-total // (BLOCKS * actors))))))
        done = total - sum(block.stop - block.start for block in found)
        return found

    with closing(predict_blocks(job, blocks, address, progress)) as found:
        for start, stop, lines, packed in found:
            # First, so that what is stored as done has them.
            for each in thumbnails:
                each.add_packed(packed)
            checkpoint.store_block(start, stop, lines)
            done += stop - start
            progress("predicting", done, total)


def _write(
    results: Iterable[FrameResult],
    sinks: Sequence[Sink],
    listeners: Sequence[Listener],
    before: Iterable[FrameResult] = (),
) -> None:
    """Give those stored ``before`` to all but immediate sinks, which have had them; then the ``results`` to all."""
    with ExitStack() as stack:
        entered = [stack.enter_context(sink) for sink in sinks]
        for given, taking in ((before, [sink for sink in entered if not sink.immediate]), (results, entered)):
            takers = (*(sink.write for sink in taking), *listeners)
            for result in given:
                for take in takers:
                    take(result)


def _count(progress: Progress, total: int | None) -> Listener:
    def count(result: FrameResult) -> None:
        frame = result.frame
        facts = {} if frame.number is None else {"frame": str(frame.number)}
        progress("predicting", frame.index + frame.closes, total, **facts)

    return count


def _sinks(
    names: Sequence[str],
    options: PredictOptions,
    classes: Sequence[str],
    about: str,
    stream: TextIO | None,
    reopened: Reopen,
    people: "StoredPeople | KnownPeople | None",
) -> list[Sink]:
    sinks: list[Sink] = []
    if options.annotate is not None:
        sinks.append(AnnotatedPictures(options.annotate, max_pixels=options.max_pixels, reopen=reopened))
    if options.crops is not None:
        sinks.append(FaceCrops(options.crops))
    if options.sort_into is not None:
        sinks.append(SortedLinks(options.sort_into, reopen=reopened))
    if (target := options.out or stream) is not None:
        sinks.append(format_of(options.out, options.format)(target, columns(classes, options.schema), options.schema))
    if options.errors is not None:
        sinks.append(SkippedRows(options.errors))
    if options.timeline is not None:
        sinks.append(Timeline(options.timeline))
    if options.report is not None:
        folder = Checkpoint(options.out).folder if _is_file(options.out) else None
        thumbnails = Thumbnails(folder, distributed.rank())
        profiles = None if people is None else ProfilePictures(people.folder)
        page = AlbumPage(options.report, thumbnails, classes=classes, names=names, about=about, profiles=profiles)
        sinks += [thumbnails, page]
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
    if options.overwrite:
        return
    interrupted = _is_file(options.out) and Checkpoint(options.out).exists
    if options.resume and interrupted:
        return
    if options.resume and options.out is not None and options.out.is_file():
        raise UsageError(
            f"{options.out} is complete: there is nothing to resume.",
            hint="Type --overwrite to make it again, or another name.",
        )
    for path in (options.out, options.errors, options.timeline, options.report, options.annotate, options.crops):
        if path is not None and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
            raise UsageError(f"{path} is there already.", hint="Type --overwrite to replace it, or another name.")
    if interrupted:
        raise UsageError(
            f"A prediction into {options.out} was interrupted.",
            hint="Type --resume to continue it, or --overwrite to begin anew.",
        )


def _is_file(out: Path | None) -> TypeGuard[Path]:
    """Whether the output is a file that can be interrupted and put in place whole: no device and no pipe."""
    return out is not None and (out.is_file() or not out.exists())
