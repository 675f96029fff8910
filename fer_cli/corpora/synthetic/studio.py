"""Drawing a whole corpus: all sequences of all subjects, on all cores."""

import os
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from fer_cli.corpora.synthetic import layout
from fer_cli.corpora.synthetic.drawing import face_of, landmarks_in_pixels, paint
from fer_cli.corpora.synthetic.expressions import UNITS_OF, intensity, order_of_expressions, perform, resting
from fer_cli.corpora.synthetic.identity import draw_identity
from fer_cli.errors import CorpusError
from fer_cli.files import write_bytes
from fer_cli.pools import process_pool
from fer_cli.progress import Progress

#: What a generator decides. Each is seeded by the corpus's seed, the subject and its purpose, so that no subject,
#: sequence or frame depends on what was drawn before it.
_IDENTITY, _REST, _ORDER, _PERFORMANCE, _NOISE = range(5)


def draw_corpus(root: Path, subjects: int, frames: int, seed: int, confound: float, progress: Progress) -> None:
    """Draw ``subjects`` people, seven sequences of ``frames`` each, at ``root``. Frames already there are kept.

    Raises :class:`~fer_cli.errors.CorpusError` if the folder cannot be written or a drawing process dies.
    """
    sequences = [(subject, sequence) for subject in range(1, subjects + 1) for sequence in range(1, len(UNITS_OF) + 1)]
    draw = partial(draw_sequence, root, frames=frames, seed=seed, confound=confound)
    pool = process_pool(min(os.cpu_count() or 1, len(sequences)), _start_worker)
    try:
        drawing = [pool.submit(draw, *numbers) for numbers in sequences]
        for done, future in enumerate(as_completed(drawing), start=1):
            future.result()
            progress("drawing", done * frames, len(sequences) * frames)
    except BrokenProcessPool as error:
        raise CorpusError(
            "A process that was drawing died.", hint="Type the same again: what is drawn already is kept."
        ) from error
    except OSError as error:
        raise CorpusError(
            f"{error.filename or root} cannot be written: {error.strerror}.", hint="Name a folder with room to write."
        ) from error
    finally:
        # A sequence takes a moment, so those under way may end.
        pool.shutdown(cancel_futures=True)


def draw_sequence(root: Path, subject: int, sequence: int, *, frames: int, seed: int, confound: float) -> None:
    """Draw a subject's ``sequence``-th sequence, both counted from 1."""

    def generator(*purpose: int) -> np.random.Generator:
        return np.random.default_rng([seed, subject, *purpose])

    person, rest = draw_identity(generator(_IDENTITY)), resting(generator(_REST), confound)
    label = order_of_expressions(generator(_ORDER))[sequence - 1]
    performance = perform(label, generator(_PERFORMANCE, sequence))
    _make_folders(root, subject, sequence)
    for frame in range(1, frames + 1):
        picture = layout.frame_path(root, subject, sequence, frame)
        # The picture is written after its landmarks, so one that is there is complete.
        if picture.exists():
            continue
        amount = intensity(frame - 1, frames)
        face = face_of(person, performance, rest, amount)
        layout.write_landmarks(layout.landmarks_path(root, subject, sequence, frame), landmarks_in_pixels(face))
        pixels = paint(
            face,
            exposure=performance.exposure + amount * performance.exposure_drift,
            noise=performance.noise,
            rng=generator(_NOISE, sequence, frame),
        )
        _write_png(picture, pixels)
    layout.write_emotion(layout.emotion_path(root, subject, sequence, frames), label)
    layout.write_facs(layout.facs_path(root, subject, sequence, frames), performance.apex)


def _make_folders(root: Path, subject: int, sequence: int) -> None:
    for place in (layout.frame_path, layout.landmarks_path, layout.emotion_path, layout.facs_path):
        place(root, subject, sequence, 1).parent.mkdir(parents=True, exist_ok=True)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    if not encoded:
        raise OSError(0, "the picture could not be encoded", str(path))
    write_bytes(path, data.tobytes())


def _start_worker() -> None:
    # The processes are the parallelism: OpenCV's threads would only compete.
    cv2.setNumThreads(1)
