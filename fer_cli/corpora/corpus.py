"""What every corpus reader is: a small dataclass with a layout, a protocol's defaults, and a way to read.

The fields of the dataclass are the reader's own settings. Each is annotated with :class:`annotated_doc.Doc`, and the
command line turns it into a flag of ``fer prepare CORPUS`` with that text as its help.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.archives import OTHERS, UNPACKED, archives_in, open_all
from fer_cli.corpora.record import Reading
from fer_cli.corpora.walk import what_is_there
from fer_cli.errors import CorpusError
from fer_cli.progress import Progress, silent


class Corpus(ABC):
    """One corpus as its owners ship it.

    A reader knows the layout and the codes of one corpus and nothing else. Its class attributes are the published
    protocol's defaults: the class set, how many last frames are the apex, how many folds, by which rule.
    """

    #: What a person types after ``fer prepare``.
    name: ClassVar[str]
    #: What papers call it.
    title: ClassVar[str]
    #: One line for ``fer prepare --help``.
    summary: ClassVar[str]
    #: The tree a reader expects, drawn for error messages.
    layout: ClassVar[str]
    #: A class set's name, or ``found`` for every expression that the corpus shows.
    classes: ClassVar[str] = "found"
    apex_frames: ClassVar[int] = 3
    folds: ClassVar[int] = 10
    fold_rule: ClassVar[str] = "id-step"
    #: What the owners say that there is, by the names of :attr:`Reading.found`, and how many subjects.
    promises: ClassVar[Mapping[str, int]] = {}
    #: What a still's ``session`` is in this corpus, in a word for the protocol's line.
    session_name: ClassVar[str] = "session"
    #: Pictures are faces already cropped, so that no detector is needed.
    cropped: ClassVar[bool] = False
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

    def make(self, root: Path, progress: Progress = silent) -> None:
        """Make the corpus ready at ``root``: where its layout is not there and archives are, unpack them.

        They go beside themselves. Raises :class:`~fer_cli.errors.CorpusError` if they cannot be unpacked.
        """
        if not root.is_dir():
            return
        try:
            self.locate(root)
        except CorpusError:
            open_all(root, progress)
        else:
            # Of several archives a process that was killed may have unpacked the first.
            if (root / UNPACKED).is_dir():
                open_all(root, progress)

    def dataset_name(self, root: Path) -> str:
        """What a dataset prepared from ``root`` is called unless a person says otherwise."""
        return self.name

    def title_at(self, root: Path) -> str:
        """What the protocol's line calls the corpus at ``root``."""
        return self.title

    def absent(self, root: Path) -> CorpusError:
        """What to raise where ``root`` is not this corpus: what is there, and what was looked for."""
        if not root.is_dir():
            return CorpusError(f"There is no folder {root}.", hint=f"Type the folder that {self.title} is in.")
        unopened = ", ".join(path.name for path in archives_in(root, OTHERS))
        by_hand = f"Unpack {unopened} by hand, with the program that made it.\n" if unopened else ""
        return CorpusError(
            f"{root} is not {self.title}: {what_is_there(root)}.",
            hint=f"{by_hand}What is looked for, here or in a folder of it:\n{self.layout}",
        )

    @abstractmethod
    def locate(self, root: Path) -> Path:
        """The folder at or below ``root`` in which this corpus's layout begins.

        Raises :class:`~fer_cli.errors.CorpusError`, saying what was looked for and what is there.
        """

    @abstractmethod
    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every record of the corpus at ``root``, in a stable order whatever the file system's.

        ``apex_frames`` last frames of a sequence are its apex, where the corpus does not annotate it.
        """
