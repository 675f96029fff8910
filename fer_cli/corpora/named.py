"""Corpora whose files' names say who shows what."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import files_below
from fer_cli.errors import CorpusError

#: The endings of what owners and users put next to pictures and videos: documents, tables, 3D models, sound, archives.
ACCOMPANYING = frozenset(
    {
        *(".txt", ".md", ".rst", ".pdf", ".doc", ".docx", ".rtf", ".ps", ".html", ".htm", ".csv", ".tsv", ".xls"),
        *(".xlsx", ".json", ".xml", ".yaml", ".yml", ".mat", ".npy", ".pts", ".py", ".m", ".r", ".ipynb"),
        *(
            ".wrl",
            ".obj",
            ".ply",
            ".bnd",
            ".pse",
            ".wav",
            ".mp3",
            ".zip",
            ".tar",
            ".tgz",
            ".gz",
            ".bz2",
            ".xz",
            ".rar",
            ".7z",
        ),
    }
)
COPY = "another file of the same picture or clip (counted once)"


def not_understood(path: Path, title: str) -> LeftOut:
    """The report of a file in the corpus ``title`` that no rule of its owners' names explains.

    It is a fault, unless it is neither a picture nor a video but a document, sound or the like.
    """
    if path.suffix.lower() in ACCOMPANYING or path.stem.lower() in ("readme", "license", "makefile"):
        return LeftOut(str(path), "neither a picture nor a video", fault=False)
    return LeftOut(str(path), f"a name that {title} does not use")


class NamedFiles(Corpus):
    """``file_name`` is the owners' way of naming, by which the corpus is recognised.

    ``codes`` are its spellings of the expressions, in lower case; None for what is no expression. ``counted`` is what
    :attr:`Reading.found` calls its files.
    """

    file_name: ClassVar[re.Pattern[str]]
    codes: ClassVar[Mapping[str, str | None]]
    counted: ClassVar[str]

    def locate(self, root: Path) -> Path:
        """``root``, if files at any depth are named as the owners name them."""
        if not root.is_dir():
            raise self.absent(root)
        if not any(self.file_name.fullmatch(path.name) for path in files_below(root)):
            raise self.absent(root)
        return root

    def original(self, match: re.Match[str]) -> tuple[str, int]:
        """What the file named so is a file of, and its rank: of several files of one thing the lowest is taken.

        The owners use each name once, so that two files of one name are copies, in whatever folder and format.
        """
        return Path(match.string).stem.lower(), 0

    def named(self, root: Path, reading: Reading) -> Iterator[tuple[Path, re.Match[str]]]:
        """The files that are named as the owners name them, one of each; all others are added to ``reading``."""
        chosen: dict[str, tuple[int, Path, re.Match[str]]] = {}
        for path in files_below(root):
            match = self.file_name.fullmatch(path.name)
            if match is None:
                reading.left_out.append(not_understood(path, self.title))
                continue
            name, rank = self.original(match)
            new = (rank, path, match)
            if name in chosen:
                kept, copy = sorted((chosen[name], new), key=lambda entry: entry[0])
                reading.left_out.append(LeftOut(str(copy[1]), COPY, fault=False))
                new = kept
            chosen[name] = new
        reading.found[self.counted] = len(chosen)
        for _, path, match in chosen.values():
            yield path, match

    def label(self, code: str, path: Path) -> str | None:
        """The expression that ``code`` means, None if it is none of the vocabulary.

        Raises :class:`~fer_cli.errors.CorpusError` for a code that the owners do not use.
        """
        try:
            return self.codes[code.lower()]
        except KeyError:
            raise CorpusError(
                f"The code '{code}' in the name of {path} is none of {self.title}'s.",
                hint=f"Its codes are {', '.join(self.codes)}.",
            ) from None


class NamedStills(NamedFiles):
    """Stills of known subjects, each described by its file's name."""

    classes: ClassVar[str] = "7-neutral"
    counted: ClassVar[str] = "pictures"

    @abstractmethod
    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """What the file named so shows, or why it is left out by rule."""

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture as a still; what is not named as the owners name it is left out and said."""
        reading = Reading()
        for path, match in self.named(root, reading):
            still = self.still(path, match)
            if isinstance(still, str):
                reading.left_out.append(LeftOut(str(path), still, fault=False))
            else:
                reading.records.append(still)
        return reading

    def shown(
        self, code: str, path: Path, subject: str, view: str | None = None, session: str | None = None
    ) -> Still | str:
        """The still for ``code``, or why there is none."""
        label = self.label(code, path)
        if label is None:
            return f"{code.lower()} is not in the vocabulary"
        return Still(Frame(path), label, subject, view=view, session=session)
