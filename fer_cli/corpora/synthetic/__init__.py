"""Synthetic: a corpus of drawn faces, in CK+'s own layout, for trying everything out where no corpus is at hand.

A drawn person is a set of measures and colours, an expression a set of FACS action units that move the face's landmarks
(P. Ekman and W. V. Friesen, *Facial Action Coding System*, 1978). Nobody's picture is used. What is learned from these
faces says that a pipeline works and how its parts compare, and nothing of how it does on people.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Reading
from fer_cli.errors import UsageError
from fer_cli.files import locked, remove_abandoned
from fer_cli.progress import Progress, silent

#: Goes up whenever the same settings would draw other pictures.
VERSION = 1
#: CK+ gives an expression three apex frames, and a neutral frame stands before them.
FEWEST_FRAMES = 4
#: CK+ numbers its subjects with three digits.
MOST_SUBJECTS = 999


@dataclass(frozen=True)
class Synthetic(Corpus):
    """Drawn faces: every subject shows each of seven expressions once, from neutral to apex."""

    name: ClassVar[str] = "synthetic"
    title: ClassVar[str] = "Synthetic"
    summary: ClassVar[str] = "Drawn faces in CK+'s layout, made on the spot: a corpus for trying things out."
    layout: ClassVar[str] = (
        "synthetic/\n"
        "├── cohn-kanade-images/S001/001/S001_001_00000001.png …\n"
        "├── Emotion/S001/001/S001_001_00000006_emotion.txt\n"
        "├── FACS/S001/001/S001_001_00000006_facs.txt\n"
        "├── Landmarks/S001/001/S001_001_00000001_landmarks.txt …\n"
        "└── synthetic.json"
    )
    classes: ClassVar[str] = "7-contempt"
    apex_frames: ClassVar[int] = 3
    folds: ClassVar[int] = 10
    fold_rule: ClassVar[str] = "id-step"
    # A folder in this layout may as well be CK+, whose reader reads both.
    detectable: ClassVar[bool] = False
    default_root: ClassVar[str] = "corpora/synthetic"
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare synthetic",
        "fer prepare synthetic corpora/small --subjects 12 --folds 4",
        "fer prepare synthetic corpora/confounded --confound 1 --out data/confounded",
    )

    subjects: Annotated[int, Doc("How many people are drawn.")] = 40
    frames: Annotated[int, Doc("Frames a sequence: the first neutral, the last the apex.")] = 6
    seed: Annotated[int, Doc("Decides who is drawn and how they move; the same seed draws the same pictures.")] = 0
    confound: Annotated[
        float,
        Doc("How far resting faces differ as expressions do (low brows, drooping corners): 0 not at all, 1 as much."),
    ] = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.subjects <= MOST_SUBJECTS:
            raise UsageError(f"--subjects is {self.subjects}.", hint=f"Type a number from 1 to {MOST_SUBJECTS}.")
        if not FEWEST_FRAMES <= self.frames <= 99:
            raise UsageError(f"--frames is {self.frames}.", hint=f"Type a number from {FEWEST_FRAMES} to 99.")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}.", hint="Type 0 or more.")
        if not 0.0 <= self.confound <= 1.0:
            raise UsageError(f"--confound is {self.confound}.", hint="Type a number from 0 to 1.")

    @property
    def people(self) -> str:
        """Another seed draws other people under the same names."""
        return f"{self.name} of seed {self.seed}" if self.seed else self.name

    def settings(self) -> dict[str, Any]:
        """All that decides what is drawn, as it stands in ``synthetic.json``."""
        return {"version": VERSION, **asdict(self)}

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Draw the corpus at ``root``, or complete one that was not finished; nothing is done if it is there.

        Raises :class:`~fer_cli.errors.CorpusError` if ``root`` holds something else.
        """
        from fer_cli.corpora.synthetic.layout import claim, finish
        from fer_cli.corpora.synthetic.studio import draw_corpus

        with locked(root, "drawing into"):
            if claim(root, self.settings()) == "finished":
                return
            remove_abandoned(root, "**/.*.part")
            draw_corpus(root, self.subjects, self.frames, self.seed, self.confound, progress)
            finish(root, self.settings())

    def locate(self, root: Path) -> Path:
        """As :meth:`CKPlus.locate <fer_cli.corpora.ckplus.CKPlus.locate>`, whose layout this is."""
        from fer_cli.corpora.ckplus import CKPlus

        return CKPlus().locate(root)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """As :meth:`CKPlus.read <fer_cli.corpora.ckplus.CKPlus.read>`, whose layout this is."""
        from fer_cli.corpora.ckplus import CKPlus

        return CKPlus().read(root, apex_frames=apex_frames)
