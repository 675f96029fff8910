"""Any folder of pictures whose paths say who shows what."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_doc import Doc

from fer_cli.corpora.corpus import Corpus
from fer_cli.corpora.named_clips import readable_clip, record_of
from fer_cli.corpora.record import Frame, LeftOut, Reading, Sequence, Still
from fer_cli.corpora.table import rows_of
from fer_cli.corpora.walk import files_below, some_paths
from fer_cli.errors import CorpusError, UsageError
from fer_cli.faces.formats import is_picture, is_video
from fer_cli.labels import EXPRESSIONS

FIELDS = ("label", "subject", "sequence", "frame")


@dataclass
class Files(Corpus):
    """A folder whose pictures' paths follow a pattern."""

    name: ClassVar[str] = "files"
    title: ClassVar[str] = "Files"
    summary: ClassVar[str] = "Any folder of pictures or clips, by a pattern of their paths."
    layout: ClassVar[str] = (
        "--pattern '{label}/{subject}.jpg'            happiness/001.jpg  neutral/001.jpg\n"
        "--pattern '{subject}/{label}/{frame}.jpg'    001/anger/0.jpg … 3.jpg\n"
        "--pattern '{label}/{subject}.mp4'            happiness/001.mp4  neutral/001.mp4"
    )
    examples: ClassVar[tuple[str, ...]] = (
        "fer prepare files portraits --pattern '{label}/{subject}.jpg' --rename smiling=happiness",
        "fer prepare files takes --pattern '{subject}/{label}/{frame}.png' --apex-frames 1",
        "fer prepare files corpus --table rows.csv",
    )
    detectable: ClassVar[bool] = False

    pattern: Annotated[
        str | None,
        Doc(
            "The pictures' paths below the folder, with {label} and, where paths say so, {subject}, {sequence} and "
            "{frame}; * stands for anything else. With {frame} a subject's label (or sequence) is a run of frames, the "
            "first neutral and the last ones the apex. Of a clip the middle is the apex, compared with that of its "
            "subject's neutral clip."
        ),
    ] = None
    table: Annotated[
        Path | None,
        Doc(
            "Instead of a pattern: a CSV with the columns path (from the folder) and label, and where they are known "
            "subject, sequence, frame and split."
        ),
    ] = None
    rename: Annotated[
        tuple[str, ...], Doc("What a label of the folder means here, such as smiling=happiness. May be given again.")
    ] = ()

    def __post_init__(self) -> None:
        if (self.pattern is None) == (self.table is None):
            raise UsageError(
                "--pattern or --table: one of them is needed, to say what each picture shows.",
                mend="Such as: --pattern '{label}/{subject}.jpg'",
            )
        if self.pattern is not None:
            path_pattern(self.pattern)
        for text in self.rename:
            _renaming(text)

    def dataset_name(self, root: Path) -> str:
        """The folder's own name."""
        return root.resolve().name or self.name

    def title_at(self, root: Path) -> str:
        """The folder's own name."""
        return self.dataset_name(root)

    def locate(self, root: Path) -> Path:
        """``root`` itself, if it is a folder."""
        if not root.is_dir():
            raise CorpusError(f"There is no folder {root}.")
        return root

    def read(self, root: Path, *, apex_frames: int = 3) -> Reading:
        """Every picture whose path follows the pattern, as sequences where it has a ``{frame}``, else as stills."""
        reading = Reading()
        matched = self._by_pattern(root, reading) if self.table is None else rows_of(self.table, root, reading)
        reading.found["pictures"] = len(matched) + len(reading.left_out)
        if not matched:
            raise CorpusError(
                f"No path in {root} follows the pattern {self.pattern}."
                if self.table is None
                else f"No row of {self.table} names a picture in {root}.",
                mend=_what_is_there(root),
            )
        meaning = dict(map(_renaming, self.rename))
        clips = [(path, fields) for path, fields in matched if is_video(path)]
        matched = [(path, fields) for path, fields in matched if not is_video(path)]
        if any("frame" in fields for _, fields in matched):
            reading.records = _sequences(matched, meaning, apex_frames, reading)
        else:
            reading.records = [
                Still(Frame(path), _label(fields["label"], path, meaning), fields.get("subject"), fields.get("split"))
                for path, fields in matched
            ]
        if clips:
            _add_clips(clips, root, meaning, apex_frames, reading)
        return reading

    def _by_pattern(self, root: Path, reading: Reading) -> list[tuple[Path, dict[str, str]]]:
        pattern = path_pattern(self.pattern)
        matched = []
        for path in files_below(root):
            found = pattern.fullmatch(path.relative_to(root).as_posix())
            if found:
                matched.append((path, found.groupdict()))
            elif is_picture(path) or is_video(path):
                reading.left_out.append(LeftOut(str(path), "does not follow the pattern", fault=False))
        return matched


def _sequences(
    matched: list[tuple[Path, dict[str, str]]], meaning: dict[str, str], apex_frames: int, reading: Reading
) -> list[Sequence]:
    runs: dict[tuple[str, str, str], list[tuple[str, Path]]] = defaultdict(list)
    for path, fields in matched:
        if "subject" not in fields or "frame" not in fields:
            reading.left_out.append(LeftOut(str(path), "a row of a sequence without its subject or frame"))
            continue
        sequence = fields.get("sequence") or fields["label"]
        runs[fields["subject"], sequence, fields["label"]].append((fields["frame"], path))
    shared = Counter((subject, sequence) for subject, sequence, _ in runs)
    records = []
    for (subject, sequence, label), frames in runs.items():
        paths = [path for _, path in sorted(frames, key=lambda entry: (_natural(entry[0]), entry[1]))]
        if len(paths) < 2:
            reading.left_out.append(LeftOut(str(paths[0]), "a sequence of one frame"))
            continue
        records.append(
            Sequence(
                subject,
                sequence if shared[subject, sequence] == 1 else f"{sequence}-{label}",
                tuple(map(Frame, paths)),
                _label(label, paths[0], meaning),
                neutral=0,
                apexes=tuple(range(max(1, len(paths) - apex_frames), len(paths))),
                apex_source=f"last {apex_frames} frames" if apex_frames > 1 else "last frame",
            )
        )
    reading.found["sequences"] = len(runs)
    return records


def _add_clips(
    matched: list[tuple[Path, dict[str, str]]], root: Path, meaning: dict[str, str], apex_frames: int, reading: Reading
) -> None:
    """Add what videos show: the frames about the middle, of nobody named or of a neutral clip that in the middle."""
    reading.found["clips"] = len(matched)
    reading.found["pictures"] -= len(matched)
    reading.found = +reading.found
    for path, fields in matched:
        label = _label(fields["label"], path, meaning)
        name = "-".join(path.relative_to(root).with_suffix("").parts)
        if "frame" in fields:
            reading.left_out.append(LeftOut(str(path), "a video where a frame's picture was looked for"))
        elif clip := readable_clip(path, fields.get("subject"), name, label, reading):
            reading.records.append(record_of(clip, apex_frames, fields.get("split")))


def _label(spelling: str, path: Path, meaning: dict[str, str]) -> str:
    label = meaning.get(spelling.lower(), spelling.lower())
    if label not in EXPRESSIONS:
        raise CorpusError(
            f"The label '{spelling}' of {path} is not in the vocabulary.",
            mend=f"Type --rename {spelling}=… with one of {', '.join(EXPRESSIONS)}.",
        )
    return label


def path_pattern(pattern: str) -> re.Pattern[str]:
    """The paths that ``pattern`` means, its fields as named groups; letters match whatever their case.

    Raises :class:`~fer_cli.errors.UsageError` if it is not a pattern.
    """
    fields = re.findall(r"\{(.*?)\}", pattern)
    stray = re.search(r"[{}]", re.sub(r"\{.*?\}", "", pattern))
    unknown = [name for name in fields if name not in FIELDS or fields.count(name) > 1]
    lacking = "label" not in fields or ("frame" in fields and "subject" not in fields)
    if stray or unknown or lacking:
        raise UsageError(
            f"--pattern '{pattern}' is not one.",
            mend="It needs {label}, may have {subject}, {sequence} and {frame}, each once; {frame} needs {subject}.",
        )
    out = ""
    for piece in re.split(r"(\{.*?\}|\*)", pattern.strip("/")):
        if piece == "*":
            out += "[^/]*"
        elif piece.startswith("{"):
            out += f"(?P<{piece[1:-1]}>[^/]+?)"
        else:
            out += re.escape(piece)
    return re.compile(out, re.IGNORECASE)


def _renaming(text: str) -> tuple[str, str]:
    spelling, equals, label = text.partition("=")
    if not spelling.strip() or not equals or label not in EXPRESSIONS:
        raise UsageError(
            f"--rename {text}: not a renaming.",
            mend=f"Type it like --rename smiling=happiness, with one of {', '.join(EXPRESSIONS)} on the right.",
        )
    return spelling.strip().lower(), label


def _natural(text: str) -> list[tuple[bool, int, str, str]]:
    """So that frame 10 comes after frame 2, however many digits there are."""
    key = []
    for part in filter(None, re.split(r"(\d+)", text)):
        digits = part.lstrip("0") if part.isdecimal() else ""
        key.append((part.isdecimal(), len(digits), digits, part))
    return key


def _what_is_there(root: Path) -> str:
    paths = some_paths(root)
    return f"There is, for example: {', '.join(paths)}." if paths else "The folder is empty."
