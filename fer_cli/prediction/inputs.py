"""Which pictures and videos the files, folders, patterns and lists that a person names come to."""

import glob
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces.decode import FORMATS, NO_FILE
from fer_cli.files import open_regular
from fer_cli.prediction.lists import is_list, listed

_ENDINGS = """
264 265 266 3g2 3gp amv apv asf avi avs2 avs3 cdxl dav dif divx dv dvr-ms evc f4v flm flv gxf h261 h263 h264 h265 h266
hevc ifv insv ipu ism ismv ivf kux lrv m1v m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d mkv mlv mod mov mp4 mpe mpeg mpg mpv mts
mxf nsv nut obu ogm ogv ogx psp qt rm rmvb roq ser smk svo swf tod tp trp ts usm vc1 viv vob vvc webm wmv wtv xmv y4m
"""
#: What is taken for a video, by the ending of its name: the containers that FFmpeg reads, and what cameras call theirs.
VIDEOS = frozenset(f".{ending}" for ending in _ENDINGS.split())
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """A picture or a video to predict on.

    ``subject`` is who is shown, where a list says so. ``problem`` is why there is nothing to open at ``path``.
    """

    path: Path
    subject: str | None = None
    problem: str | None = None


def inputs(
    sources: Iterable[str | Path],
    *,
    names: Callable[[], Iterator[str]] | None = None,
    except_in: Collection[Path] = (),
) -> Iterator[Input]:
    """Everything that ``sources`` come to, in order, found as it is asked for.

    A source is a picture or a video; a folder, of which all are taken at every depth, by name; a pattern such as
    ``'holiday/**/*.jpg'``; a list (.txt with a path a line, or .csv with a column ``file`` and perhaps ``subject``),
    whose paths are from its own folder; or ``-``, for which ``names`` gives paths.

    In a folder a file counts as a picture if its name or its first bytes say so. Hidden files and folders are passed
    over, and those in ``except_in``; links are followed, and each folder is entered once however many links lead there.
    """
    for source in sources:
        path = Path(source)
        if str(source) == STANDARD_INPUT and names is not None:
            yield from (Input(Path(name)) for name in names())
        elif path.is_dir():
            yield from _or_none(map(Input, _below(path, except_in)), path, "a folder without a picture or video")
        elif is_list(path) and path.is_file():
            yield from _or_none((Input(*row) for row in listed(path)), path, "a list that names no picture")
        elif not os.path.lexists(path) and glob.has_magic(str(source)):
            yield from _or_none(map(Input, _matching(str(source))), path, "a pattern that nothing matches")
        else:
            yield Input(path)


def check_sources(sources: Iterable[str | Path]) -> None:
    """Say of a mistyped name before any work is done.

    Raises :class:`~fer_cli.errors.PictureError` if a source is neither there nor a pattern.
    """
    for source in map(str, sources):
        if source != STANDARD_INPUT and not os.path.lexists(source) and not glob.has_magic(source):
            raise PictureError(f"There is no file or folder {source}.")


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEOS


def _or_none(found: Iterator[Input], source: Path, problem: str) -> Iterator[Input]:
    any_found = False
    for each in found:
        any_found = True
        yield each
    if not any_found:
        yield Input(source, problem=problem)


def _below(folder: Path, except_in: Collection[Path]) -> Iterator[Path]:
    passed = {identity for each in except_in if (identity := _identity(each)) is not None}
    for parent, folders, files in os.walk(folder, followlinks=True):
        passed.add(_identity(parent))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and _new(parent, name, passed))
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and (is_video(path) or _named_as_picture(path) or _starts_as_picture(path)):
                yield path


def _new(parent: str, name: str, passed: set[tuple[int, int] | None]) -> bool:
    identity = _identity(Path(parent, name))
    new = identity not in passed
    passed.add(identity)
    return new


def _identity(folder: Path | str) -> tuple[int, int] | None:
    try:
        status = Path(folder).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _matching(pattern: str) -> Iterator[Path]:
    # glob's own order is the disk's; Path.glob takes no absolute pattern.
    for name in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        path = Path(name)
        if not path.is_dir():
            yield path


def _named_as_picture(path: Path) -> bool:
    return Image.registered_extensions().get(path.suffix.lower()) in FORMATS


def _starts_as_picture(path: Path) -> bool:
    """Whether its first bytes are a picture's, or it is a pipe or a device, of which whoever opens it will say so."""
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS):
            return True
    except Exception as error:  # whatever a file that is no picture makes a reader raise
        return getattr(error, "errno", None) in NO_FILE
