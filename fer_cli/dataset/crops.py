"""Crops made from pictures on all cores."""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any

from fer_cli.corpora.record import Frame
from fer_cli.errors import FerError, PictureError
from fer_cli.faces.align import CropTemplate


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


def _pool(workers: int, template: CropTemplate, detector_model: Path | None) -> ProcessPoolExecutor:
    # A forked child could inherit a lock that a thread of ours holds; spawn starts clean on every platform.
    return ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(template, detector_model),
    )


def _through(
    pool: ProcessPoolExecutor, jobs: list[CropJob], workers: int, suspects: list[CropJob]
) -> Iterator[CropResult]:
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
        pool.shutdown(wait=False, cancel_futures=True)
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

    # Of a parent that was killed nobody else would tell it, and it would wait for jobs for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C is the parent's to handle; the processes are the parallelism, so OpenCV's threads would only compete.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    _worker["template"] = template
    _worker["detector"] = None if detector_model is None else Detector(detector_model)


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(job: CropJob) -> CropResult:
    try:
        return CropResult(job, facts=_crop(job, _worker["template"], _worker["detector"]))
    except FerError as error:
        return CropResult(job, reason=error.message)
    except OSError as error:
        return CropResult(job, reason=f"the crop cannot be written: {error.strerror}")


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
    job.target.parent.mkdir(parents=True, exist_ok=True)
    beside = job.target.with_suffix(".part")
    Image.fromarray(crop.pixels).save(beside, format="PNG", compress_level=3)
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    beside.replace(job.target)
    facts: dict[str, Any] = {
        "aligned_by": crop.source,
        "faces_found": crop.faces_found,
        "sha256": digest,
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
