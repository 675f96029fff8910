"""What a corpus reader yields: sequences and stills, without pixels, crops, folds or tensors."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fer_cli.files import as_text


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
        """What it is called: the file without its ending, and its number in the file."""
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


@dataclass(frozen=True, slots=True)
class Still:
    """One picture with a label. ``subject`` is None in corpora that do not say who is shown.

    ``split`` is the owners' own split (``train``, ``val``, ``test``) where there is one. ``view`` is what a face shares
    with the neutral face that it is compared with: the camera's angle, the light. ``session`` is what was recorded in
    one go with a neutral picture of its own: a session, a gaze, a take. Whether the two share it is decided for all
    classes alike, see :func:`fer_cli.dataset.pairing.pair`.
    """

    frame: Frame
    label: str
    subject: str | None = None
    split: str | None = None
    view: str | None = None
    session: str | None = None

    def __post_init__(self) -> None:
        _make_text(self, "subject", "label")


def _make_text(record: Sequence | Still, *fields: str) -> None:
    """Write out what came of a file's name and is no UTF-8, which no table takes."""
    for name in fields:
        if getattr(record, name) is not None:
            object.__setattr__(record, name, as_text(getattr(record, name)))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a corpus that could not be used: where it is, and why in a few words that can be counted by.

    ``fault`` is False for what a protocol leaves out by rule (a sequence without a label), True for what is broken
    (a label that names no sequence).
    """

    path: str
    reason: str
    fault: bool = True


@dataclass(slots=True)
class Reading:
    """All that a reader found: records in a stable order, what was left out, and what was counted on the way."""

    records: list[Sequence | Still] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
