"""How CK+'s owners name things."""

import re

#: The numbers in a label file.
CODES = dict(enumerate(("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")))

LABEL_SUFFIX = "_emotion.txt"
LANDMARKS_SUFFIX = "_landmarks.txt"
FACS_SUFFIX = "_facs.txt"

#: ``S005_001_00000011.png``; in the original CK the last number is a time code, ``S010_001_01594215.png``.
FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d+)\.png", re.IGNORECASE)
SUBJECT = re.compile(r"S\d{3}", re.IGNORECASE)
SEQUENCE = re.compile(r"\d{3}")


def kind_of(name: str) -> str | None:
    """What a file is, by its name: ``images``, ``emotion``, ``landmarks``, ``facs``, or none of these."""
    if FRAME.fullmatch(name):
        return "images"
    for suffix, kind in ((LABEL_SUFFIX, "emotion"), (LANDMARKS_SUFFIX, "landmarks"), (FACS_SUFFIX, "facs")):
        if name.endswith(suffix) and not name.startswith("."):
            return kind
    return None
