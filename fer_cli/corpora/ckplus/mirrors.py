"""Copies of CK+ that others pass on, and what can be done with them."""

from itertools import islice
from pathlib import Path

from fer_cli.corpora.ckplus.names import FRAME
from fer_cli.corpora.ckplus.tree import MAX_DEPTH, MAX_FOLDERS
from fer_cli.corpora.record import Frame, LeftOut, Reading, Still
from fer_cli.corpora.walk import children, folders_below, folders_in, what_is_there
from fer_cli.labels import expression


def cropped_mirror(root: Path) -> Path | None:
    """The folder at or below ``root`` that is ``CK+48``: ``anger/S010_004_00000017.png``, grey, 48×48."""
    if not root.is_dir():
        return None
    for folder in islice(folders_below(root, MAX_DEPTH), MAX_FOLDERS):
        angry = [each for each in folders_in(folder) if expression(each.name) == "anger"]
        if any(FRAME.fullmatch(path.name) for each in angry for path in children(each)):
            return folder
    return None


def read_cropped_mirror(folder: Path) -> Reading:
    """The pictures of ``CK+48`` as stills: apexes whose subject is in their name, without any neutral face."""
    reading = Reading()
    for path in (path for each in folders_in(folder) for path in children(each)):
        label = expression(path.parent.name)
        match = FRAME.fullmatch(path.name)
        if match and label is not None:
            reading.found["pictures"] += 1
            reading.records.append(Still(Frame(path), label, match[1].upper()))
        else:
            reading.left_out.append(LeftOut(str(path), "neither a picture of CK+48 nor in a class's folder"))
    return reading


def explain(root: Path) -> str:
    """What is at ``root`` instead of CK+."""
    tables = sorted(path.name for path in root.glob("*.csv") if "ck" in path.name.lower())
    if tables:
        return (
            f"{tables[0]} is a table of 48×48 pixels that does not say who is shown, so that no subject-independent "
            "fold can be made of it, and any number from it may be that of faces seen in training."
        )
    return f"{what_is_there(root)}."
