"""File names for crops: readable, safe on every file system, and each used once."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from fer_cli.corpora.record import Frame

#: The longest crop's name in bytes, without the digest and the endings that it may get: most disks take 255.
LONGEST = 200
#: Words from which ``datasets.load_dataset`` infers splits where they stand by themselves in the path of a file
#: (``SPLIT_KEYWORDS`` in its ``data_files.py``): the files without any would be passed over, ``metadata.csv`` too.
_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9/])(train(?:ing)?|validation|valid|val|dev|test(?:ing)?|eval(?:uation)?)(?![^-._ 0-9/])"
)


def crop_names(frames: Iterable[tuple[Frame, str | None]], root: Path) -> dict[Frame, str]:
    """The crop's path, inside the dataset, for each picture and its subject.

    A crop is called after its picture, with as many of the folders above it as make it unique among its subject's:
    ``images/S005/S005_001_00000011.png``, ``images/017/smiling-017.png``. Any picture gets the same name whatever
    order they come in, and wherever the corpus is. Characters that could leave the folder, hide a file or start a
    formula are replaced; what is too long for a disk is cut off, and told apart by a digest; and a word that means a
    split to ``datasets`` is continued: ``images/unknown/trainset_00001_aligned.png``.
    """
    by_folder: dict[str, list[Frame]] = {}
    for frame, subject in frames:
        by_folder.setdefault(_safe(subject) if subject is not None else "unknown", []).append(frame)
    names = {}
    for folder, members in by_folder.items():
        for frame, tail in _shortest_unique_tails(list(dict.fromkeys(members)), root):
            short = _cut(tail, LONGEST)
            name = tail if short == tail else f"{short}-{_digest(frame, root)}"
            names[frame] = _no_split(str(PurePosixPath("images", folder, f"{name}.png")))
    return _disambiguate(names, root)


def _shortest_unique_tails(frames: list[Frame], root: Path) -> list[tuple[Frame, str]]:
    parts = {}
    for frame in frames:
        relative = frame.path.relative_to(root) if frame.path.is_relative_to(root) else frame.path
        parts[frame] = [_safe(part) for part in relative.with_name(frame.name).parts]
    depth = dict.fromkeys(frames, 1)
    while True:
        tails = {frame: "-".join(parts[frame][-depth[frame] :]) for frame in frames}
        shared = Counter(tail.casefold() for tail in tails.values())
        clashing = [
            frame for frame in frames if shared[tails[frame].casefold()] > 1 and depth[frame] < len(parts[frame])
        ]
        if not clashing:
            return list(tails.items())
        for frame in clashing:
            depth[frame] += 1


def _disambiguate(names: dict[Frame, str], root: Path) -> dict[Frame, str]:
    """Add a digest of the picture's path to names that are still shared (``a.jpg`` beside ``a.png``)."""
    shared = Counter(name.casefold() for name in names.values())
    return {
        frame: name if shared[name.casefold()] == 1 else f"{name.removesuffix('.png')}-{_digest(frame, root)}.png"
        for frame, name in names.items()
    }


def _digest(frame: Frame, root: Path) -> str:
    path = frame.path.relative_to(root) if frame.path.is_relative_to(root) else frame.path
    text = path.as_posix() if frame.index is None else f"{path.as_posix()}:{frame.index}"
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def _safe(text: str) -> str:
    text = unicodedata.normalize("NFC", text.encode(errors="replace").decode())
    return _cut(_no_split(re.sub(r"[^\w.-]", "_", text).strip("._-")[:80]), LONGEST) or "_"


def _no_split(text: str) -> str:
    return _SPLIT_WORD.sub(r"\1set", text)


def _cut(text: str, most: int) -> str:
    """As much of the beginning of ``text`` as fits into ``most`` bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")
