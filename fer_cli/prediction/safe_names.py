"""File names made from those of inputs."""

import re

from fer_cli.prediction.shots import Shot

#: A name is cut off here: most disks take 255 bytes.
LONGEST = 80


def safe_name(shot: Shot, *, face: int | None = None, ending: str) -> str:
    """A name that no other shot or face of the same prediction has: the input's number, its name, frame and face.

    What is not a letter, a digit, a dot, a dash or an underscore becomes an underscore.

    >>> safe_name(Shot(7, Path("albums/my face.jpg")), face=0, ending=".png")
    '000007-my_face-0.png'
    """
    parts = [f"{shot.index:06d}", re.sub(r"[^\w.-]", "_", shot.path.stem, flags=re.ASCII)[:LONGEST]]
    if shot.frame is not None:
        parts.append(f"f{shot.frame:06d}")
    if face is not None:
        parts.append(str(face))
    return "-".join(parts) + ending
