"""Doing what a request asks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from fer_cli.errors import FerError, UsageError
from fer_cli.faces.video import Every
from fer_cli.faces.yunet import find_detector_model
from fer_cli.files import disk_full_reason, locked
from fer_cli.prediction import pipeline, processes
from fer_cli.prediction.annotate import Annotate
from fer_cli.prediction.camera import camera_shots, until_interrupted
from fer_cli.prediction.crops import Crops
from fer_cli.prediction.given_neutral import NeutralSource
from fer_cli.prediction.inputs import STANDARD_INPUT, Input, check_sources, inputs
from fer_cli.prediction.job import Outputs, Sink, check_free, predict_file, predict_stream
from fer_cli.prediction.lists import names_in, standard_input
from fer_cli.prediction.look import Looker
from fer_cli.prediction.outcomes import Outcome
from fer_cli.prediction.pipeline import FaceClassifier
from fer_cli.prediction.request import Request
from fer_cli.prediction.shots import Shot, shots
from fer_cli.prediction.sort import SortInto
from fer_cli.prediction.summary import Summary
from fer_cli.prediction.unfinished import Unfinished
from fer_cli.prediction.writers import format_of
from fer_cli.progress import Progress, silent

#: Makes the source of neutral faces, of what looks at pictures and of a function that gives all shots from the first
#: (None where they come only once, from a camera or standard input).
MakeNeutral = Callable[[Looker, Callable[[], Iterator[Shot]] | None], NeutralSource]


def check(sources: Sequence[str], request: Request) -> Request:
    """The request with the default places of its files filled in, after all that can be said before a model is loaded.

    Raises :class:`~fer_cli.errors.UsageError` for what cannot be meant or would overwrite, and
    :class:`~fer_cli.errors.PictureError` for a source that is not there.
    """
    if (request.camera is None) == (not sources):
        raise UsageError(
            "SOURCE: name pictures, videos or folders, or type --camera 0."
            if not sources
            else "--camera and sources: one of them is possible."
        )
    check_sources(sources)
    format_of(request.out, request.format)
    Every.parse(request.every)
    if processes.count() > 1 and (not _a_file(request.out) or request.camera is not None or STANDARD_INPUT in sources):
        raise UsageError(
            "Several processes need an --out FILE to write together, and sources that each can list.",
            hint="Type --out FILE; for names on standard input, put them into a list.txt.",
        )
    if _a_file(request.out):
        request = replace(
            request,
            errors=request.errors or request.out.with_name(f"{request.out.stem}.errors.csv"),
            timeline=request.timeline or request.out.with_name(f"{request.out.stem}.timeline.png"),
        )
    with _outputs_held(request):
        _refuse_overwriting(request)
    return request


@contextmanager
def _outputs_held(request: Request) -> Iterator[None]:
    """Every file and folder that the request writes to, held by this process alone."""
    places = (request.out, request.errors, request.timeline, request.annotate, request.crops, request.sort_into)
    with ExitStack() as stack:
        for place in {path.resolve(): path for path in places if path is not None}.values():
            # A device or a pipe may have many writers.
            if place.is_dir() or _a_file(place):
                stack.enter_context(locked(place, "predicting into"))
        yield


def _refuse_overwriting(request: Request) -> None:
    if processes.rank() != 0 or request.overwrite:
        return
    going_on = request.resume and Unfinished(request.out).exists
    if not going_on:
        check_free([request.out, request.errors, request.timeline, request.annotate, request.crops])
    if _a_file(request.out) and not request.resume and Unfinished(request.out).exists:
        raise UsageError(
            f"A prediction into {request.out} was interrupted.",
            hint="Type --resume to go on with it, or --overwrite to begin anew.",
        )


def perform(
    sources: Sequence[str],
    request: Request,
    classifier: FaceClassifier,
    *,
    make_neutral: MakeNeutral | None = None,
    model: str = "",
    stream: TextIO | None = None,
    shown: Sequence[Sink] = (),
    progress: Progress = silent,
) -> Summary:
    """Predict on ``sources`` as a :func:`check`-ed ``request`` asks, and say what it came to.

    ``model`` is what tells the classifier from others, for ``request.resume``. Without ``request.out`` the rows go to
    ``stream`` if there is one; ``shown`` take each outcome with the rows. Raises
    :class:`~fer_cli.errors.FerError` if another process predicts into one of the request's files or folders, or
    there is no room there.
    """
    with _outputs_held(request):
        # Another prediction into the same may have come to its end since the request was checked.
        _refuse_overwriting(request)
        try:
            return _perform(sources, request, classifier, make_neutral, model, stream, shown, progress)
        except FerError as error:
            if disk_full_reason(error) and _a_file(request.out) and Unfinished(request.out).exists:
                error.hint = "Make room there, then type the same line with --resume to go on."
            raise


def _perform(
    sources: Sequence[str],
    request: Request,
    classifier: FaceClassifier,
    make_neutral: MakeNeutral | None,
    model: str,
    stream: TextIO | None,
    shown: Sequence[Sink],
    progress: Progress,
) -> Summary:
    every = Every.parse(request.every)
    cropped = request.detector == "none" or classifier.preprocessing.face_crop.get("detector") == "none"
    detector_model = None if cropped else find_detector_model(request.detector_model, progress)
    looker = Looker(
        classifier.preprocessing.face_crop, detector_model, faces=request.faces, max_pixels=request.max_pixels
    )

    def outcomes(found: Iterable[tuple[int, Input]], again: Callable[[], Iterator[Input]] | None) -> Iterator[Outcome]:
        def all_shots() -> Iterator[Shot]:
            return shots(enumerate(again()), every, max_pixels=request.max_pixels)

        neutral = None
        if classifier.paired and make_neutral is not None:
            once = again is None or request.camera is not None
            neutral = make_neutral(looker, None if once else all_shots)
        if request.camera is not None:
            return until_interrupted(pipeline.predict(camera_shots(request.camera, every), looker, classifier, neutral))
        seen = shots(found, every, max_pixels=request.max_pixels)
        return pipeline.predict(seen, looker, classifier, neutral)

    outputs = Outputs(
        table=request.out or stream,
        format=format_of(request.out, request.format),
        classes=classifier.classes,
        errors=request.errors,
        timeline=request.timeline,
        beside=_beside(request),
        shown=shown,
    )
    if request.overwrite and processes.rank() == 0:
        # Made only where there is something to put in: those of before would stay, and mislead.
        for path in (request.errors, request.timeline):
            if path is not None and path.is_file():
                path.unlink()
    if _a_file(request.out):
        settings = _settings(sources, request, cropped, model)
        return predict_file(
            _found(sources, request),
            outcomes,
            outputs,
            settings,
            smooth=request.smooth,
            resume=request.resume,
            progress=progress,
        )
    once = request.camera is not None or STANDARD_INPUT in sources
    found = outcomes(enumerate(_found(sources, request)), None if once else lambda: _found(sources, request))
    total = None if once else sum(1 for _ in _found(sources, request))
    return predict_stream(_counted(found, total, progress), outputs, smooth=request.smooth)


def _a_file(out: Path | None) -> bool:
    """Whether the output is a file that can be begun, interrupted and put in place whole: no device and no pipe."""
    return out is not None and (out.is_file() or not out.exists())


def _found(sources: Sequence[str], request: Request) -> Iterator[Input]:
    if request.camera is not None:
        return iter([Input(Path(f"camera-{request.camera}"))])
    made = [folder for folder in (request.annotate, request.crops, request.sort_into) if folder is not None]
    return inputs(sources, names=lambda: names_in(standard_input()), except_in=made)


def _beside(request: Request) -> list[Sink]:
    sinks: list[Sink] = []
    if request.annotate is not None:
        sinks.append(Annotate(request.annotate, max_pixels=request.max_pixels))
    if request.crops is not None:
        sinks.append(Crops(request.crops))
    if request.sort_into is not None:
        sinks.append(SortInto(request.sort_into))
    return sinks


def _settings(sources: Sequence[str], request: Request, cropped: bool, model: str) -> dict[str, Any]:
    """All that decides the rows."""
    return {
        "sources": list(sources),
        "model": model,
        "detector": "none" if cropped else "auto",
        "faces": request.faces,
        "max_pixels": request.max_pixels,
        "every": request.every,
        "smooth": request.smooth,
    }


def _counted(outcomes: Iterator[Outcome], total: int | None, progress: Progress) -> Iterator[Outcome]:
    for outcome in outcomes:
        yield outcome
        progress("predicting", outcome.shot.index + outcome.shot.closes, total)
