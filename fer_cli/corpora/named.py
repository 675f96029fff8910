"""Corpora whose pictures' names say who shows what."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import PICTURES, files_below
from fer_cli.errors import CorpusError

#: How many files of a folder are looked at to tell whether it is the corpus.
PEEKED = 2000


class NamedFiles(Corpus):
    """``file_name`` is the owners' way of naming, by which the corpus is recognised.

    ``codes`` are its spellings of the expressions, in lower case; None for what is no expression.
    """

    file_name: ClassVar[re.Pattern[str]]
    codes: ClassVar[Mapping[str, str | None]]

    def locate(self, root: Path) -> Path:
        """``root``, if files at any depth are named as the owners name them."""
        if not root.is_dir():
            raise self.absent(root)
        if not any(self.file_name.fullmatch(path.name) for path in islice(files_below(root), PEEKED)):
            raise self.absent(root)
        return root

    def label(self, code: str, path: Path) -> str | None:
        """The expression that ``code`` means, None if it is none of the vocabulary.

        Raises :class:`~fer_cli.errors.CorpusError` for a code that the owners do not use.
        """
        try:
            return self.codes[code.lower()]
        except KeyError:
            raise CorpusError(
                f"The code '{code}' in the name of {path} is none of {self.title}'s.",
                mend=f"Its codes are {', '.join(self.codes)}.",
            ) from None


class NamedStills(NamedFiles):
    """Stills of known subjects, each described by its file's name."""

    classes: ClassVar[str] = "7-neutral"

    @abstractmethod
    def still(self, path: Path, match: re.Match[str]) -> Still | str:
        """What the file named so shows, or why it is left out by rule."""

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture as a still; what is not named as the owners name it is left out and said."""
        reading = Reading()
        for path in files_below(root):
            match = self.file_name.fullmatch(path.name)
            if match is None:
                if path.suffix.lower() in PICTURES:
                    reading.left_out.append(LeftOut(str(path), f"a name that {self.title} does not use"))
                continue
            reading.found["pictures"] += 1
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
