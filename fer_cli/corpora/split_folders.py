"""Corpora of unnamed people in folders: a split, then an expression, then pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.named import not_understood
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import files_below, folders_below
from fer_cli.errors import CorpusError
from fer_cli.faces.formats import is_picture
from fer_cli.labels import CLASS_SETS, expression

DEPTH = 4


class SplitFolders(Corpus):
    """Pictures in ``SPLIT/EXPRESSION/``; ``splits`` maps the owners' folders, in lower case, to a split's name."""

    splits: ClassVar[Mapping[str, str]]
    classes: ClassVar[str] = "7-neutral"

    def locate(self, root: Path) -> Path:
        """The folder that the splits' folders are in."""
        if not root.is_dir():
            raise self.absent(root)
        for folder in folders_below(root, DEPTH):
            splits = [child for child in folders_below(folder, 1) if child != folder and self._split_of(child)]
            if any(map(_has_expressions, splits)):
                return folder
        raise self.absent(root)

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture, with the owners' split. Who is shown is not known."""
        reading = Reading()
        for folder in folders_below(root, 1):
            split = self._split_of(folder)
            if split is None or folder == root:
                continue
            for path in files_below(folder):
                if not is_picture(path):
                    reading.left_out.append(not_understood(path, self.title))
                    continue
                reading.found["pictures"] += 1
                inside = path.relative_to(folder).parts
                if len(inside) < 2:
                    reading.left_out.append(
                        LeftOut(str(path), f"no label: the {split} pictures are unsorted", fault=False)
                    )
                    continue
                label = expression(inside[0])
                if label is None:
                    raise CorpusError(
                        f"The folder {folder / inside[0]} is named after no expression of {self.title}.",
                        hint=f"Its expressions are {', '.join(CLASS_SETS[self.classes])}.",
                    )
                reading.found[split] += 1
                reading.records.append(Still(Frame(path), label, split=split))
        return reading

    def _split_of(self, folder: Path) -> str | None:
        return self.splits.get(folder.name.lower())


def _has_expressions(folder: Path) -> bool:
    return sum(expression(child.name) is not None for child in folders_below(folder, 1)) >= 2
