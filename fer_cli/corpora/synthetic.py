"""Synthetic: a corpus of drawn faces, in CK+'s own layout, for trying everything out where no corpus is at hand.

A drawn person is a set of measures and colours, an expression a set of FACS action units that move landmarks
(see :mod:`fer_cli.synthetic`). Nobody's picture is used. What is learned from these faces says that a pipeline works
and how its parts compare, and nothing of how it does on people. The layout is that of P. Lucey et al., *The Extended
Cohn-Kanade Dataset (CK+)*, 2010, and of the read-me files that its owners ship.
"""

from collections.abc import Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_doc import Doc
from annotated_types import Ge, Interval

from fer_cli import pools
from fer_cli.corpora.base import Corpus, Reading, Terms
from fer_cli.corpora.ckplus import CODES, CKPlus
from fer_cli.distributed import cores
from fer_cli.errors import CorpusError
from fer_cli.files import locked, read_json, remove_abandoned, write_bytes, write_json, write_text
from fer_cli.options import Panel, check_bounds
from fer_cli.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np

    from fer_cli.synthetic.action_units import Sides

#: Raised whenever the same settings would draw other pictures.
VERSION = 1
#: Written last: a corpus that has it is complete.
CARD = "synthetic.json"
#: Stands for the card until then.
UNFINISHED = "synthetic.unfinished.json"
#: Each kind of file: its folder, and the ending of its name.
FILES = {
    "frame": ("cohn-kanade-images", ".png"),
    "landmarks": ("Landmarks", "_landmarks.txt"),
    "emotion": ("Emotion", "_emotion.txt"),
    "facs": ("FACS", "_facs.txt"),
}
#: The purposes of random generators. Each is seeded by the corpus's seed, the subject and its purpose, so that no
#: subject, sequence or frame depends on what was drawn before it.
_IDENTITY, _REST, _ORDER, _PERFORMANCE, _NOISE = range(5)
_PANEL = Panel("Input")


@dataclass(frozen=True)
class Synthetic(Corpus):
    """Drawn faces: every subject shows each of seven expressions once, from neutral to apex."""

    name: ClassVar[str] = "synthetic"
    title: ClassVar[str] = "Synthetic"
    summary: ClassVar[str] = "Drawn faces in CK+'s layout, made on the spot: a corpus for trying things out."
    terms: ClassVar[Terms] = Terms(
        "drawn by fer", "anything: nobody is shown", "", weights="allowed: nobody is shown", publishable=True
    )
    layout: ClassVar[str] = (
        "synthetic/\n"
        "├── cohn-kanade-images/S001/001/S001_001_00000001.png …\n"
        "├── Emotion/S001/001/S001_001_00000006_emotion.txt\n"
        "├── FACS/S001/001/S001_001_00000006_facs.txt\n"
        "├── Landmarks/S001/001/S001_001_00000001_landmarks.txt …\n"
        "└── synthetic.json"
    )
    classes: ClassVar[str] = "7-contempt"
    # A folder in this layout may as well be CK+, whose reader reads both.
    detectable: ClassVar[bool] = False
    default_root: ClassVar[str] = "corpora/synthetic"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare synthetic",
        "fer prepare synthetic corpora/small --subjects 12 --folds 4",
        "fer prepare synthetic corpora/confounded --confound 1 --out data/confounded",
    )

    # CK+ numbers its subjects with three digits.
    subjects: Annotated[int, Interval(ge=1, le=999), Doc("How many people are drawn."), _PANEL] = 40
    # Three frames are the apex, and a neutral frame stands before them.
    frames: Annotated[
        int, Interval(ge=4, le=99), Doc("Frames a sequence: the first neutral, the last the apex."), _PANEL
    ] = 6
    seed: Annotated[int, Ge(0), Doc("Random seed; the same seed draws the same pictures."), _PANEL] = 0
    confound: Annotated[
        float,
        Interval(ge=0, le=1),
        Doc("How far resting faces differ as expressions do (low brows, drooping corners)."),
        _PANEL,
    ] = 0.0

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def people(self) -> str:
        """Another seed draws other people under the same names."""
        return f"{self.name} of seed {self.seed}" if self.seed else self.name

    def settings(self) -> dict[str, Any]:
        """All that decides what is drawn, as it stands in ``synthetic.json``."""
        return {"version": VERSION, **asdict(self)}

    def promised(self) -> list[tuple[str, str]]:
        """Every subject shows each expression once."""
        from fer_cli.synthetic.person import UNITS_OF

        return [(f"S{subject:03d}", label) for subject in range(1, self.subjects + 1) for label in UNITS_OF]

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Draw the corpus at ``root``, or complete one that was not finished; nothing is done if it is there.

        Raises :class:`~fer_cli.errors.CorpusError` if ``root`` holds something else.
        """
        with locked(root, "drawing into"):
            if begin(root, self.settings()) == "finished":
                return
            remove_abandoned(root, "**/.*.part")
            draw_corpus(root, self.subjects, self.frames, self.seed, self.confound, progress)
            finish(root, self.settings())

    def locate(self, root: Path) -> Path:
        """As :meth:`CKPlus.locate <fer_cli.corpora.ckplus.CKPlus.locate>`, whose layout this is."""
        return CKPlus().locate(root)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """As :meth:`CKPlus.read <fer_cli.corpora.ckplus.CKPlus.read>`, whose layout this is."""
        return CKPlus().read(root, apex_frames=apex_frames)


def path_of(root: Path, kind: str, subject: int, sequence: int, frame: int) -> Path:
    """The file of a ``kind`` of :data:`FILES`, such as ``Emotion/S001/001/S001_001_00000006_emotion.txt``.

    Numbers are counted from 1; what describes a whole sequence is named after its last frame.
    """
    folder, ending = FILES[kind]
    name = f"S{subject:03d}"
    return root / folder / name / f"{sequence:03d}" / f"{name}_{sequence:03d}_{frame:08d}{ending}"


def write_landmarks(path: Path, landmarks: "np.ndarray") -> None:
    """68 lines of x and y, in pixels."""
    write_text(path, "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in landmarks))


def write_emotion(path: Path, label: str) -> None:
    """The expression's number, as the owners print it."""
    [code] = (code for code, name in CODES.items() if name == label)
    write_text(path, f"   {code:.7e}\n")


def write_facs(path: Path, units: Mapping[int, "Sides"]) -> None:
    """A line for each action unit: its number, and its intensity from 1 to 5 on the side that shows it more."""
    rows = ((number, min(5, max(1, round(5 * max(sides))))) for number, sides in sorted(units.items()))
    write_text(path, "".join(f"   {number:.7e}   {grade:.7e}\n" for number, grade in rows))


def begin(root: Path, settings: dict[str, Any]) -> str:
    """Make sure that a corpus of these settings may be drawn at ``root``: ``new``, ``unfinished`` or ``finished``.

    Raises :class:`~fer_cli.errors.CorpusError` if something else is there.
    """
    for name, state in ((CARD, "finished"), (UNFINISHED, "unfinished")):
        stored = _stored(root / name)
        if stored == settings:
            return state
        if stored is not None:
            differing = ", ".join(
                f"{key} {stored.get(key)} rather than {value}"
                for key, value in settings.items()
                if stored.get(key) != value
            )
            raise CorpusError(
                f"{root} holds a synthetic corpus drawn with other settings: {differing or 'settings not known here'}.",
                hint="Name another folder, remove that one, or type its settings.",
            )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise CorpusError(
            f"{root} is in the way: it holds something that is no synthetic corpus.",
            hint="Name a new or an empty folder.",
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / UNFINISHED, settings)
    except OSError as error:
        raise CorpusError(f"{root} cannot be written: {error.strerror}.", hint="Name another folder.") from error
    return "new"


def finish(root: Path, settings: dict[str, Any]) -> None:
    """Mark the corpus at ``root`` as complete."""
    write_json(root / CARD, settings)
    (root / UNFINISHED).unlink(missing_ok=True)


def _stored(path: Path) -> dict[str, Any] | None:
    try:
        stored = read_json(path)
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def draw_corpus(root: Path, subjects: int, frames: int, seed: int, confound: float, progress: Progress) -> None:
    """Draw ``subjects`` people, seven sequences of ``frames`` each, at ``root``. Frames already there are kept.

    Raises :class:`~fer_cli.errors.CorpusError` if the folder cannot be written or a drawing process dies.
    """
    from fer_cli.synthetic.person import UNITS_OF

    sequences = [(subject, sequence) for subject in range(1, subjects + 1) for sequence in range(1, len(UNITS_OF) + 1)]
    draw = partial(draw_sequence, root, frames=frames, seed=seed, confound=confound)
    pool = pools.process_pool(min(cores(), len(sequences)), _start_worker)
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
    import numpy as np

    from fer_cli.synthetic.head import face_of, landmarks_in_pixels, paint
    from fer_cli.synthetic.person import draw_identity, draw_order, draw_performance, draw_rest, intensity

    def generator(*purpose: int) -> np.random.Generator:
        return np.random.default_rng([seed, subject, *purpose])

    person, rest = draw_identity(generator(_IDENTITY)), draw_rest(generator(_REST), confound)
    label = draw_order(generator(_ORDER))[sequence - 1]
    performance = draw_performance(label, generator(_PERFORMANCE, sequence))
    for kind in FILES:
        path_of(root, kind, subject, sequence, 1).parent.mkdir(parents=True, exist_ok=True)
    for frame in range(1, frames + 1):
        picture = path_of(root, "frame", subject, sequence, frame)
        # The picture is written after its landmarks, so one that is there is complete.
        if picture.exists():
            continue
        amount = intensity(frame - 1, frames)
        face = face_of(person, performance, rest, amount)
        write_landmarks(path_of(root, "landmarks", subject, sequence, frame), landmarks_in_pixels(face))
        pixels = paint(
            face,
            exposure=performance.exposure + amount * performance.exposure_drift,
            noise=performance.noise,
            rng=generator(_NOISE, sequence, frame),
        )
        _write_png(picture, pixels)
    write_emotion(path_of(root, "emotion", subject, sequence, frames), label)
    write_facs(path_of(root, "facs", subject, sequence, frames), performance.apex)


def _write_png(path: Path, pixels: "np.ndarray") -> None:
    import cv2
    import numpy as np

    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    if not encoded:
        raise OSError(0, "the picture could not be encoded", str(path))
    write_bytes(path, data.tobytes())


def _start_worker() -> None:
    import cv2

    # The processes are the parallelism: OpenCV's threads would only compete.
    cv2.setNumThreads(1)
