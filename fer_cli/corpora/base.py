"""Records, which a corpus reader yields, and the base class of the readers.

The fields of a reader's dataclass are its own settings: the command line turns each, by its
:class:`annotated_doc.Doc`, into a flag of ``fer prepare CORPUS``.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from fer_cli.corpora.io import OTHERS, UNPACKED, archives_in, unpack_all, what_is_there
from fer_cli.errors import CorpusError
from fer_cli.files import as_text
from fer_cli.labels import VOTES
from fer_cli.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a corpus: a file, a frame of a video, a row of a table of pixels, or a face of several in a file.

    ``landmarks`` is the owners' file of facial points for it, where they give one: 68 lines ``x y`` in pixels of
    this picture, in the iBUG order. ``index`` tells the frames, rows or faces of one file apart, counted from 0.
    ``offset`` is the byte at which a table's row begins. ``box`` is where the owners say that the face is: x, y, width
    and height in pixels. ``turned`` says that the picture may lie on its side, ``halves`` that it may show two faces
    side by side of which one is in profile: the way in which a face is found best is then taken.
    """

    path: Path
    landmarks: Path | None = None
    index: int | None = None
    kind: Literal["picture", "video", "table"] = "picture"
    turned: bool = False
    halves: bool = False
    box: tuple[float, float, float, float] | None = None
    offset: int | None = None

    @property
    def name(self) -> str:
        """Name: that of the file without its ending, and the number in the file."""
        return self.path.stem if self.index is None else f"{self.path.stem}-{self.index:05d}"


@dataclass(frozen=True, slots=True)
class Sequence:
    """One subject's face moving from neutral to the apex of an expression.

    ``frames`` are in time order; ``neutral`` and ``apexes`` are indices into it and never overlap. ``label`` is None
    where the owners gave none. ``apex_source`` says where the apex came from: ``last 3 frames``, ``annotated``,
    ``assumed``. ``neutral`` is None where the subject's neutral pictures are records of their own. ``view`` is as in
    :class:`Still`.
    """

    subject: str
    sequence: str
    frames: tuple[Frame, ...]
    label: str | None
    neutral: int | None
    apexes: tuple[int, ...]
    apex_source: str
    view: str | None = None

    def __post_init__(self) -> None:
        _make_text(self, "subject", "sequence", "label")

    @classmethod
    def from_neutral_to_apex(
        cls, subject: str, sequence: str, frames: tuple[Frame, ...], label: str | None, apex_frames: int
    ) -> "Sequence":
        """The sequence whose first frame is neutral, and whose ``apex_frames`` last ones are the apex."""
        apexes = tuple(range(max(1, len(frames) - apex_frames), len(frames)))
        return cls(subject, sequence, frames, label, neutral=0, apexes=apexes, apex_source=last_frames(apex_frames))


@dataclass(frozen=True, slots=True)
class Still:
    """One picture with a label. ``subject`` is None in corpora that do not say who is shown.

    ``votes`` are how many raters voted for each of :data:`fer_cli.labels.VOTES`, where the owners publish that. A
    ``label`` of None means that the votes agree on none: such a picture is kept for its votes alone, to train on.
    ``split`` is the owners' own split (``train``, ``val``, ``test``) where there is one. ``view`` is what a face shares
    with the neutral face that it is compared with: the camera's angle, the light. ``session`` is what was recorded in
    one go with a neutral picture of its own: a session, a gaze, a take. Whether the two share it is decided for all
    classes alike, see :func:`fer_cli.dataset.pairing.pair`.
    """

    frame: Frame
    label: str | None
    subject: str | None = None
    split: str | None = None
    view: str | None = None
    session: str | None = None
    votes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _make_text(self, "subject", "label")
        if self.votes is not None and len(self.votes) != len(VOTES):
            raise ValueError(f"{len(self.votes)} numbers of votes for the {len(VOTES)} things to vote for")


def spelled(codes: Mapping[int, str] | Mapping[str, str]) -> str:
    """An owner's codes with their meaning, for an error message: ``1 anger, 2 fear``."""
    return ", ".join(f"{code} {label}" for code, label in codes.items())


def last_frames(count: int) -> str:
    """The :attr:`Sequence.apex_source` of an apex that is the ``count`` last frames."""
    return f"last {count} frames" if count > 1 else "last frame"


def _make_text(record: Sequence | Still, *fields: str) -> None:
    """Write out what came of a file's name and is no UTF-8, which no table takes."""
    for name in fields:
        if getattr(record, name) is not None:
            object.__setattr__(record, name, as_text(getattr(record, name)))


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input of a corpus that is not used: its path, and the reason in a few words that can be counted by.

    ``fault`` is False for what a protocol excludes by rule (a sequence without a label), True for what is broken
    (a label that names no sequence).
    """

    path: str
    reason: str
    fault: bool = True


@dataclass(slots=True)
class Reading:
    """A corpus as read: records in a stable order, inputs that were skipped, and counts of what was found."""

    records: list[Sequence | Still] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)

    def skip(self, path: Path | str, reason: str, *, fault: bool = True) -> None:
        """Add a :class:`Skipped`."""
        self.skipped.append(Skipped(str(path), reason, fault))


#: What is known of models trained on a corpus whose conditions do not mention them.
NOT_STATED = "not stated; ask its owners"


@dataclass(frozen=True, slots=True)
class Terms:
    """A corpus's ``owner``, the ``condition`` of using its pictures in a clause, and the ``source`` to read it at.

    ``weights`` is what the owners say of publishing models trained on it. ``publishable`` is True only where their
    licence allows that to everybody who keeps to it; where they say nothing, they are to be asked.
    """

    owner: str
    condition: str
    source: str
    weights: str = NOT_STATED
    publishable: bool = False


class Corpus(ABC):
    """One corpus as its owners ship it.

    A reader knows the layout and the codes of one corpus and nothing else. Its class attributes are the published
    protocol's defaults: the class set, how many last frames are the apex, how many folds, and their rule.
    """

    #: What a person types after ``fer prepare``.
    name: ClassVar[str]
    #: What papers call it.
    title: ClassVar[str]
    #: One line for ``fer prepare --help``.
    summary: ClassVar[str]
    #: Whose it is and what its owners allow, for the cards of models.
    terms: ClassVar[Terms]
    #: The tree a reader expects, drawn for error messages.
    layout: ClassVar[str]
    #: A class set's name, or ``found`` for every expression that the corpus shows.
    classes: ClassVar[str] = "found"
    apex_frames: ClassVar[int] = 3
    folds: ClassVar[int] = 10
    fold_rule: ClassVar[str] = "id-step"
    #: The counts that the owners publish, by the names of :attr:`Reading.found`, and how many subjects.
    promises: ClassVar[Mapping[str, int]] = {}
    #: What a still's ``session`` is in this corpus, in a word for the protocol's line.
    session_name: ClassVar[str] = "session"
    #: Pictures are faces already cropped, one each.
    cropped: ClassVar[bool] = False
    #: Cropped faces are also aligned by the owners, so that no detector is needed.
    aligned: ClassVar[bool] = True
    #: Whether a folder can be recognised by its layout alone.
    detectable: ClassVar[bool] = True
    #: Where it is unless a person says otherwise.
    default_root: ClassVar[str] = "."
    #: Lines that a person could type, for ``--help``.
    examples: ClassVar[tuple[str, ...]] = ()

    @property
    def people(self) -> str:
        """Whose names its subjects have: a name in two corpora of the same people is one person."""
        return self.name

    def promised(self) -> list[tuple[str, str]]:
        """The subject and the label of each record that :meth:`make` is going to make; of none where it makes none."""
        return []

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Make the corpus ready at ``root``: where its layout is not there and archives are, unpack them.

        They are unpacked next to themselves. Raises :class:`~fer_cli.errors.CorpusError` if they cannot be unpacked.
        """
        if not root.is_dir():
            return
        try:
            self.locate(root)
        except CorpusError:
            unpack_all(root, progress)
        else:
            # Of several archives a process that was killed may have unpacked the first.
            if (root / UNPACKED).is_dir():
                unpack_all(root, progress)

    def dataset_name(self, root: Path) -> str:
        """Default name of a dataset prepared from ``root``."""
        return self.name

    def title_at(self, root: Path) -> str:
        """Name of the corpus at ``root`` in the protocol's line."""
        return self.title

    def promises_at(self, root: Path) -> Mapping[str, int]:
        """The owners' counts of what is at ``root``, where they ship several things."""
        return self.promises

    def absent(self, root: Path) -> CorpusError:
        """The error for a ``root`` that is not this corpus: what is there, and the expected layout."""
        if not root.is_dir():
            return CorpusError(f"There is no folder {root}.", hint=f"Type the folder that {self.title} is in.")
        unopened = ", ".join(path.name for path in archives_in(root, OTHERS))
        by_hand = f"Unpack {unopened} by hand, with the program that made it.\n" if unopened else ""
        return CorpusError(
            f"{root} is not {self.title}: {what_is_there(root)}.",
            hint=f"{by_hand}What is looked for, here or in a folder of it:\n{self.layout}",
        )

    def locate(self, root: Path) -> Path:
        """The folder at or below ``root`` in which this corpus's layout begins.

        Raises :class:`~fer_cli.errors.CorpusError`, with what was looked for and what is there.
        """
        found = self.find(root) if root.is_dir() else None
        if found is None:
            raise self.absent(root)
        return found

    def find(self, root: Path) -> Path | None:
        """As :meth:`locate`, for a folder ``root``; None where there is none."""
        return None

    @abstractmethod
    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every record of the corpus at ``root``, in a stable order whatever the file system's.

        ``apex_frames`` last frames of a sequence are its apex, where the corpus does not annotate it.
        """
