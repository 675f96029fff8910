"""Where, below a folder, CK+'s pictures, labels and landmarks are.

On users' disks they are nested in many ways (``Emotion_labels/Emotion``, ``Landmarks/Landmarks``,
``extended-cohn-kanade-images/cohn-kanade-images``): a folder is known by what is in it, not by what it is called.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from fer_cli.corpora.ckplus.names import SEQUENCE, SUBJECT, kind_of
from fer_cli.corpora.walk import children, folders_in
from fer_cli.walk import Entered

#: How far below the given folder to look, and into how many folders at most: a home folder typed by mistake should
#: not be searched for minutes.
MAX_DEPTH, MAX_FOLDERS = 5, 5000
#: How many sequences of a folder are looked into to tell what it holds; many have an empty folder for a label.
PEEKED = 700


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders whose children are subjects, or None for what there is not."""

    images: Path | None = None
    emotion: Path | None = None
    landmarks: Path | None = None
    facs: Path | None = None
    #: Further folders of pictures, of which the nearest is read.
    copies: tuple[Path, ...] = ()
    #: A folder of subjects and sequences without a file in it.
    empty: Path | None = field(default=None, compare=False)


def find_tree(root: Path) -> Tree:
    """The parts of CK+ at or below ``root``; of two of a kind the nearer."""
    tree = Tree()
    for folder in _subject_folders(root):
        kind = _peek(folder) or "empty"
        if getattr(tree, kind) is None:
            tree = replace(tree, **{kind: folder})
        elif kind == "images":
            tree = replace(tree, copies=(*tree.copies, folder))
    if tree.emotion is None and tree.empty is not None and "emotion" in tree.empty.name.lower():
        tree = replace(tree, emotion=tree.empty)
    return tree


def _subject_folders(root: Path) -> Iterator[Path]:
    """The folders at or below ``root`` with children called S005 and the like, the nearest first."""
    entered = Entered(root)
    level = [root] if entered.enter(root) else []
    looked_into = 0
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for folder in level:
            looked_into += 1
            below_it = folders_in(folder)
            if any(SUBJECT.fullmatch(child.name) for child in below_it):
                yield folder
            else:
                below += [child for child in below_it if entered.enter(child)]
            if looked_into >= MAX_FOLDERS:
                return
        level = below


def _peek(folder: Path) -> str | None:
    """What kind of files the sequences in ``folder`` hold."""
    sequences = (
        sequence
        for subject in folders_in(folder)
        if SUBJECT.fullmatch(subject.name)
        for sequence in folders_in(subject)
        if SEQUENCE.fullmatch(sequence.name)
    )
    for sequence in islice(sequences, PEEKED):
        for path in children(sequence):
            if kind := kind_of(path.name):
                return kind
    return None
