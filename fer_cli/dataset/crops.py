"""Crops made from pictures on all cores."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from fer_cli.corpora.record import Frame
from fer_cli.errors import DatasetError, DiskFullError, FerError, PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.files import write_bytes
from fer_cli.pools import process_pool


@dataclass(frozen=True, slots=True)
class CropJob:
    """One picture to decode, and where the crop of its face goes."""

    frame: Frame
    target: Path


@dataclass(frozen=True, slots=True)
class CropResult:
    """What became of a job: ``facts`` of the crop, or the reason there is none."""

    job: CropJob
    facts: dict[str, Any] | None = None
    reason: str | None = None


def make_crops(
    jobs: list[CropJob], template: CropTemplate, detector_model: Path | None, *, workers: int | None = None
) -> Iterator[CropResult]:
    """Make each job's crop, yielding results as they come, in no particular order.

    ``detector_model`` None means that pictures without landmarks are already cropped. A picture that cannot be used
    gives a reason, never an exception; one that brings a worker process down is tried again alone, and then named.
    Raises :class:`~fer_cli.errors.DatasetError` or :class:`~fer_cli.errors.DiskFullError` for a crop that cannot be
    written, which is no fault of the picture's.
    """
    pending = list(jobs)
    workers = min(workers or os.cpu_count() or 1, max(1, len(pending)))
    while pending:
        suspects: list[CropJob] = []
        with _pool(workers, template, detector_model) as pool:
            done = set()
            for result in _through(pool, pending, workers, suspects):
                done.add(result.job)
                yield result
        pending = [job for job in pending if job not in done]
        for job in suspects:
            pending.remove(job)
            yield _alone(job, template, detector_model)


def _pool(workers: int, template: CropTemplate, detector_model: Path | None) -> Executor:
    return process_pool(workers, _start_worker, template, detector_model)


def _through(pool: Executor, jobs: list[CropJob], workers: int, suspects: list[CropJob]) -> Iterator[CropResult]:
    """Results from the pool, with no more jobs under way than keep it busy; on its death, what it may have died of."""
    queue = iter(jobs)
    running: dict[Future, CropJob] = {}
    try:
        while True:
            for job in islice(queue, 4 * workers - len(running)):
                running[pool.submit(_work, job)] = job
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
                del running[future]
    except BrokenProcessPool:
        suspects.extend(running.values())
    except BaseException:
        # A crop takes a moment: nothing writes any more when the error comes out.
        pool.shutdown(cancel_futures=True)
        raise


def _alone(job: CropJob, template: CropTemplate, detector_model: Path | None) -> CropResult:
    with _pool(1, template, detector_model) as pool:
        try:
            return pool.submit(_work, job).result()
        except BrokenProcessPool:
            return CropResult(job, reason="decoding it brought the process down")


_worker: dict[str, Any] = {}


def _start_worker(template: CropTemplate, detector_model: Path | None) -> None:
    import cv2

    from fer_cli.faces.detect import Detector

    # The processes are the parallelism: OpenCV's threads would only compete.
    cv2.setNumThreads(1)
    _worker["template"] = template
    _worker["detector"] = None if detector_model is None else Detector(detector_model)


def _work(job: CropJob) -> CropResult:
    try:
        return CropResult(job, facts=_crop(job, _worker["template"], _worker["detector"]))
    except (DatasetError, DiskFullError):
        raise
    except FerError as error:
        return CropResult(job, reason=error.message)


def _crop(job: CropJob, template: CropTemplate, detector: Any) -> dict[str, Any]:
    from PIL import Image

    from fer_cli.faces.crop import crop_face
    from fer_cli.faces.cut import cut
    from fer_cli.faces.landmarks import read_landmarks
    from fer_cli.faces.upright import best_way_up

    landmarks, note = None, {}
    if job.frame.landmarks is not None:
        try:
            landmarks = read_landmarks(job.frame.landmarks)
        except PictureError as error:
            if detector is None:
                raise PictureError(f"its landmark file: {error.message}") from None
            note = {"note": f"landmark file passed over: {error.message}"}
    pixels = _pixels(job.frame)
    if job.frame.box is not None:
        pixels = cut(pixels, job.frame.box)
    if detector is not None and (job.frame.turned or job.frame.halves):
        pixels, way = best_way_up(pixels, detector, turned=job.frame.turned, halves=job.frame.halves)
        note |= {"turn": way.turn, "part": way.part}
    crop = crop_face(pixels, template, detector=detector, landmarks=landmarks)
    encoded = BytesIO()
    Image.fromarray(crop.pixels).save(encoded, format="PNG", compress_level=3)
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(job.target, encoded.getvalue())
    except OSError as error:
        raise DatasetError(f"{job.target} cannot be written: {error.strerror}.", hint="Type --out FOLDER.") from error
    facts: dict[str, Any] = {
        "aligned_by": crop.source,
        "faces_found": crop.faces_found,
        "sha256": hashlib.sha256(encoded.getvalue()).hexdigest(),
        **note,
    }
    if crop.face is not None:
        face = asdict(crop.face)
        facts |= {
            "score": round(float(face["score"]), 4),
            "box": [round(float(number), 2) for number in face["box"]],
            "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face["landmarks"]],
        }
        if crop.face.turn:
            facts["turn"] = crop.face.turn
    return facts


def _pixels(frame: Frame) -> Any:
    from fer_cli.faces.decode import decode
    from fer_cli.faces.pixel_rows import pixel_row
    from fer_cli.faces.video import video_frame

    if frame.kind == "table":
        return pixel_row(frame.path, frame.offset)
    return video_frame(frame.path, frame.index) if frame.kind == "video" else decode(frame.path)
