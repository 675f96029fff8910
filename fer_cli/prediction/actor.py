"""Actor of the Ray engine: a job, sent to it whole, that it does on one block of inputs after the other."""

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, cast

import fer_cli
from fer_cli.errors import FerError, UsageError
from fer_cli.faces.cascade import choose_detector, is_cropped
from fer_cli.models import ONNXRUNTIME, TORCH
from fer_cli.models.device import choose_device
from fer_cli.models.inference import Classifier
from fer_cli.models.onnx import OnnxClassifier, with_runtime
from fer_cli.prediction.checkpoint import Block, input_of, line_of
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.people.snapshot import KnownPeople
from fer_cli.prediction.pipeline import Extract, FaceClassifier, FaceExtractor, NeutralFinder
from fer_cli.prediction.results import FrameResult
from fer_cli.prediction.sinks import Sink
from fer_cli.prediction.sinks.thumbnails import Thumbnails
from fer_cli.progress import Progress, silent

#: Called with numbered inputs, an extractor, a classifier, a finder, a number of threads, and what gives a face its
#: person: the results, in order.
Predict = Callable[..., Iterator[FrameResult]]


@dataclass(frozen=True)
class Job:
    """All that an actor needs, sent to it whole: neither the model's files nor the detector's need be on its machine.

    ``detector`` is YuNet's file itself. ``folder`` is that from which relative paths start, and ``device`` what was
    asked for. ``thumbnails`` says whether those of the faces are to be sent back.
    """

    predict: Predict
    classifier: FaceClassifier
    runtime: str
    detector: bytes | Literal["cascade"] | None
    finder: NeutralFinder | None
    sinks: tuple[Sink, ...]
    options: PredictOptions
    folder: Path
    device: str
    people: KnownPeople | None = None
    thumbnails: bool = False
    version: str = fer_cli.__version__


def make_job(
    predict: Predict,
    classifier: FaceClassifier,
    finder: NeutralFinder | None,
    sinks: Iterable[Sink],
    options: PredictOptions,
    device: str,
    progress: Progress = silent,
    *,
    people: KnownPeople | None = None,
) -> Job:
    """The job of these; those of the sinks that are immediate write where the actors are, but for thumbnails.

    Raises :class:`~fer_cli.errors.DetectorError` if the detector's file cannot be had.
    """
    detector: Any = None
    if not is_cropped(classifier.preprocessing.face_crop, options.detector):
        detector = choose_detector(options.detector, options.detector_model, progress)
    if isinstance(detector, Path):
        detector = detector.read_bytes()
    runtime = TORCH
    if isinstance(classifier, OnnxClassifier):
        # A session cannot be sent; each machine writes the same graph of the same network.
        runtime, tta = ONNXRUNTIME, classifier.tta
        classifier = Classifier(classifier.model, classifier.preprocessing, classifier.device, classifier.classes)
        classifier.tta = tta
    immediate = [sink for sink in sinks if sink.immediate]
    there = tuple(sink for sink in immediate if not isinstance(sink, Thumbnails))
    thumbnails = len(there) < len(immediate)
    return Job(predict, classifier, runtime, detector, finder, there, options, Path.cwd(), device, people, thumbnails)


class Predicted(NamedTuple):
    """The stored lines of the results of the inputs from ``start`` to before ``stop``, and their faces' thumbnails.

    These are as :meth:`~fer_cli.prediction.sinks.thumbnails.Thumbnails.packed` gives them; none if not asked for.
    """

    start: int
    stop: int
    lines: bytes
    thumbnails: bytes = b""


class _Opened:
    """A job on the machine of an actor that has ``threads``."""

    def __init__(self, job: Job, threads: int, gpu: bool):
        if job.version != fer_cli.__version__:
            raise FerError(
                f"{socket.gethostname()} has fer {fer_cli.__version__}, and this is {job.version}.",
                hint="Install the same version on all machines of the cluster.",
            )
        try:
            os.chdir(job.folder)
        except OSError as error:
            raise FerError(
                f"{socket.gethostname()}, a machine of the Ray cluster, cannot read {job.folder}: {error.strerror}.",
                hint="All machines need the pictures at the same paths: on a shared disk, say.",
            ) from error
        options, classifier = job.options, job.classifier
        if isinstance(classifier, Classifier):
            device = choose_device(job.device if gpu or job.device != "auto" else "cpu")
            tta = classifier.tta
            classifier = Classifier(classifier.model, classifier.preprocessing, device, classifier.classes)
            classifier.tta = tta
            classifier, _ = with_runtime(classifier, job.runtime if device.type == "cpu" else TORCH)
        face_crop = classifier.preprocessing.face_crop
        detector: Any = job.detector
        if isinstance(detector, bytes):
            # Each thread loads it when it needs it.
            self._folder = TemporaryDirectory(prefix="fer-")
            detector = Path(self._folder.name) / "detector.onnx"
            detector.write_bytes(job.detector)
        extract = FaceExtractor(
            face_crop, detector, faces=options.faces, max_pixels=options.max_pixels, quick=not classifier.paired
        )
        if job.finder is not None:
            job.finder.fit(None, extract)
        taking: Extract = extract
        identify = None
        if job.people is not None:
            job.people.to(cast(Classifier, classifier).device)
            taking, identify = job.people.extracting(extract), job.people.identify
        self._predict: Callable[..., Iterator[FrameResult]] = lambda inputs: job.predict(
            inputs, taking, classifier, job.finder, threads, identify
        )
        self._sinks, self._thumbnails = job.sinks, job.thumbnails

    def results(self, start: int, inputs: bytes) -> tuple[bytes, bytes]:
        """The stored lines of the inputs' results, after the immediate sinks have taken them, and their thumbnails."""
        numbered = enumerate(map(input_of, inputs.splitlines()), start=start)
        found = []
        with ExitStack() as stack:
            sinks = list(self._sinks)
            thumbnails = stack.enter_context(Thumbnails(None)) if self._thumbnails else None
            if thumbnails is not None:
                sinks.append(thumbnails)
            for result in self._predict(numbered):
                for sink in sinks:
                    sink.write(result)
                found.append(line_of(result))
            return b"".join(found), b"" if thumbnails is None else thumbnails.packed()


class BlockActor:
    """An actor that predicts on blocks of inputs, one at a time; what cannot be done comes back as a row too."""

    def __init__(self, coordinator: Any, threads: int, gpu: bool):
        self._coordinator, self._threads, self._gpu = coordinator, threads, gpu
        self._opened: _Opened | None = None

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """One row for a batch of one row."""
        start, stop, inputs = (batch[name][0] for name in Block._fields)
        lines, thumbnails, error = b"", b"", ""
        try:
            lines, thumbnails = self._predict(int(start), int(stop), bytes(inputs))
        except FerError as failure:
            error = json.dumps([isinstance(failure, UsageError), failure.message, failure.hint])
        found = Predicted(int(start), int(stop), lines, thumbnails)
        return {name: [value] for name, value in (*found._asdict().items(), ("error", error))}

    def _predict(self, start: int, stop: int, inputs: bytes) -> tuple[bytes, bytes]:
        import ray

        if died := ray.get(self._coordinator.begin.remote(start)):
            first, last = (input_of(inputs.splitlines()[place]).path for place in (0, -1))
            raise FerError(
                f"{died} actor{'s' * (died > 1)} died, one after the other, on {first} to {last} (inputs {start} to "
                f"{stop - 1}): their machines may have too little memory, or one of these files ends the process that "
                "reads it.",
                hint="Put that file elsewhere or take larger machines, then type the same line with --resume.",
            )
        if self._opened is None:
            [job] = ray.get(self._coordinator.job.remote())
            self._opened = _Opened(ray.get(job), self._threads, self._gpu)
        return self._opened.results(start, inputs)
