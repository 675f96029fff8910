"""Crops made from pictures on all cores, their file names, and the journal of those that are finished."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from fer_cli import pools
from fer_cli.corpora.base import Frame
from fer_cli.dataset import schema
from fer_cli.distributed import cores
from fer_cli.documents import check_document
from fer_cli.errors import DatasetError, DiskFullError, FerError, PictureError
from fer_cli.faces.align import CropTemplate
from fer_cli.faces.cascade import open_detector
from fer_cli.faces.crop import align_cropped, best_way_up, crop_face, cut, read_landmarks
from fer_cli.faces.decode import decode, pixel_row
from fer_cli.faces.detect import FaceDetector
from fer_cli.faces.video import video_frame
from fer_cli.files import open_regular, write_bytes, write_text

#: A line of ``faces.jsonl`` has some four hundred bytes, most of them two paths.
MAX_LINE = 100_000
#: Crops that are made in the time that it takes to start a process.
WORTH_A_PROCESS = 16


@dataclass(frozen=True, slots=True)
class CropJob:
    """One picture to decode, and where the crop of its face goes."""

    frame: Frame
    target: Path


@dataclass(frozen=True, slots=True)
class CropResult:
    """Result of a job: ``facts`` of the crop, or the reason that there is none."""

    job: CropJob
    facts: dict[str, Any] | None = None
    reason: str | None = None


def make_crops(
    jobs: list[CropJob],
    template: CropTemplate,
    detector_model: Path | None,
    *,
    cropped: bool = False,
    workers: int | None = None,
) -> Iterator[CropResult]:
    """Make each job's crop, yielding results as they come, in no particular order.

    ``detector_model`` None means that pictures without landmarks are taken as they are. ``cropped`` says that each
    shows one face and little else, see :func:`fer_cli.faces.crop.align_cropped`. A picture that cannot be used
    gives a reason, never an exception; one that brings a worker process down is tried again alone, and then named.
    Raises :class:`~fer_cli.errors.DatasetError` or :class:`~fer_cli.errors.DiskFullError` for a crop that cannot be
    written, which is no fault of the picture's.
    """
    pending = list(jobs)
    setting = (template, detector_model, cropped)
    workers = min(workers or min(cores(), -(-len(pending) // WORTH_A_PROCESS)), len(pending))
    while pending:
        suspects: list[CropJob] = []
        with _pool(workers, *setting) as pool:
            done = set()
            for result in _through(pool, pending, workers, suspects):
                done.add(result.job)
                yield result
        pending = [job for job in pending if job not in done]
        for job in suspects:
            pending.remove(job)
            yield _alone(job, *setting)


def _pool(workers: int, *setting: Any) -> Executor:
    return pools.process_pool(workers, _start_worker, *setting)


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


def _alone(job: CropJob, *setting: Any) -> CropResult:
    with _pool(1, *setting) as pool:
        try:
            return pool.submit(_work, job).result()
        except BrokenProcessPool:
            return CropResult(job, reason="decoding it brought the process down")


_worker: dict[str, Any] = {}


def _start_worker(template: CropTemplate, detector_model: Path | None, cropped: bool) -> None:
    # The processes are the parallelism: OpenCV's threads would only compete.
    cv2.setNumThreads(1)
    _worker["template"], _worker["cropped"] = template, cropped
    _worker["detector"] = open_detector(detector_model)


def _work(job: CropJob) -> CropResult:
    try:
        return CropResult(job, facts=_crop(job, **_worker))
    except (DatasetError, DiskFullError):
        raise
    except FerError as error:
        return CropResult(job, reason=error.message)


def _crop(job: CropJob, template: CropTemplate, detector: FaceDetector | None, cropped: bool) -> dict[str, Any]:
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
    if cropped and detector is not None and landmarks is None:
        crop = align_cropped(pixels, template, detector)
    else:
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


def _pixels(frame: Frame) -> np.ndarray:
    if frame.kind == "table":
        return pixel_row(frame.path, frame.offset)
    return video_frame(frame.path, frame.index) if frame.kind == "video" else decode(frame.path)


#: The longest crop's name in bytes, without the digest and the endings that it may get: most disks take 255.
LONGEST = 200
#: Words from which ``datasets.load_dataset`` infers splits where they stand by themselves in the path of a file
#: (``SPLIT_KEYWORDS`` in its ``data_files.py``): the files without any would be passed over, ``metadata.csv`` too.
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9/])(train(?:ing)?|validation|valid|val|dev|test(?:ing)?|eval(?:uation)?)(?![^-._ 0-9/])"
)


def crop_names(frames: Iterable[tuple[Frame, str | None]], root: Path) -> dict[Frame, str]:
    """The crop's path, inside the dataset, for each picture and its subject.

    A crop is called after its picture, with as many of the folders above it as make it unique among its subject's:
    ``images/S005/S005_001_00000011.png``, ``images/017/smiling-017.png``. Any picture gets the same name whatever
    order they come in, and wherever the corpus is. Characters that could leave the folder, hide a file or start a
    formula are replaced; what is too long for a disk is cut off, and told apart by a digest; and a word that means a
    split to ``datasets`` is continued: ``images/unknown/trainset_00001_aligned.png``.
    """
    by_folder: dict[str, list[Frame]] = {}
    for frame, subject in frames:
        by_folder.setdefault(_safe(subject) if subject is not None else "unknown", []).append(frame)
    names = {}
    for folder, members in by_folder.items():
        for frame, tail in _shortest_unique_tails(list(dict.fromkeys(members)), root):
            short = _cut(tail, LONGEST)
            name = tail if short == tail else f"{short}-{_digest(frame, root)}"
            names[frame] = _no_split(str(PurePosixPath("images", folder, f"{name}.png")))
    return _disambiguate(names, root)


def _shortest_unique_tails(frames: list[Frame], root: Path) -> list[tuple[Frame, str]]:
    parts = {}
    for frame in frames:
        relative = frame.path.relative_to(root) if frame.path.is_relative_to(root) else frame.path
        parts[frame] = [_safe(part) for part in relative.with_name(frame.name).parts]
    depth = dict.fromkeys(frames, 1)
    while True:
        tails = {frame: "-".join(parts[frame][-depth[frame] :]) for frame in frames}
        shared = Counter(tail.casefold() for tail in tails.values())
        clashing = [
            frame for frame in frames if shared[tails[frame].casefold()] > 1 and depth[frame] < len(parts[frame])
        ]
        if not clashing:
            return list(tails.items())
        for frame in clashing:
            depth[frame] += 1


def _disambiguate(names: dict[Frame, str], root: Path) -> dict[Frame, str]:
    """Add a digest of the picture's path to names that are still shared (``a.jpg`` and ``a.png``)."""
    shared = Counter(name.casefold() for name in names.values())
    return {
        frame: name if shared[name.casefold()] == 1 else f"{name.removesuffix('.png')}-{_digest(frame, root)}.png"
        for frame, name in names.items()
    }


def _digest(frame: Frame, root: Path) -> str:
    path = frame.path.relative_to(root) if frame.path.is_relative_to(root) else frame.path
    text = path.as_posix() if frame.index is None else f"{path.as_posix()}:{frame.index}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _safe(text: str) -> str:
    text = unicodedata.normalize("NFC", text.encode(errors="replace").decode())
    return _cut(_no_split(re.sub(r"[^\w.-]", "_", text).strip("._-")[:80]), LONGEST) or "_"


def _no_split(text: str) -> str:
    return _SPLIT_WORD.sub(r"\1set", text)


def _cut(text: str, most: int) -> str:
    """As much of the beginning of ``text`` as fits into ``most`` bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, none if there is none; what is longer than any that was written counts as several."""
    try:
        with open_regular(path) as file:
            while line := file.readline(MAX_LINE):
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error


def inside_images(name: str) -> bool:
    """Whether a crop of this name lies in the dataset's folder of images."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and path.parts[:1] == (schema.IMAGES,)


class Journal:
    """Journal of the crops, one JSON line each, written as they are made so that no work is lost.

    ``entries`` maps a crop's name to its facts. A line that was cut short, or whose crop is gone, is as if not there.
    """

    def __init__(self, out: Path):
        self._out = out
        self._path = out / schema.FACES
        self._file: BinaryIO | None = None
        self.entries: dict[str, dict[str, Any]] = {}
        for line in _lines(self._path):
            try:
                entry = json.loads(line)
                check_document(entry, schema.FaceDocument)
                if inside_images(entry["file_name"]) and (out / entry["file_name"]).is_file():
                    self.entries[entry.pop("file_name")] = entry
            except (ValueError, OSError, RecursionError):
                continue

    def __enter__(self) -> "Journal":
        self._file = self._path.open("ab")
        # A killed run may have left its last line without an end.
        self._file.write(b"\n" if self._path.stat().st_size else b"")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._file.close()

    def holds(self, name: str) -> bool:
        """Whether the crop ``name`` is made."""
        return name in self.entries

    def add(self, name: str, **facts: Any) -> None:
        """Record the crop ``name``."""
        self.entries[name] = facts
        self._file.write((self._line(name) + "\n").encode("utf-8", "backslashreplace"))
        self._file.flush()

    def digest(self, names: set[str]) -> str:
        """A digest of the named crops' own digests."""
        lines = (f"{name} {self.entries[name]['sha256']}\n" for name in sorted(names))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def rewrite(self, names: set[str]) -> None:
        """Keep the named crops' lines alone, in the order of their names."""
        write_text(self._path, "".join(self._line(name) + "\n" for name in sorted(names)))

    def _line(self, name: str) -> str:
        return json.dumps({"file_name": name, **self.entries[name]}, ensure_ascii=False)
