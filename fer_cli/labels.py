"""The expression vocabulary, how others spell it, and the class sets made from it.

Words for expressions are read by :func:`expression`, whether they name a folder, stand in a table or label a model's
outputs. What means an expression only within one corpus, such as RAF-DB's numbers, is known to that corpus's reader.
"""

import unicodedata
from collections.abc import Iterable

from fer_cli.errors import UsageError

NEUTRAL = "neutral"

#: The vocabulary: the neutral face, then Ekman's six and contempt in alphabetical order. Class indices follow
#: this order wherever classes are numbered, and the names travel with every model and dataset.
EXPRESSIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")

#: How others spell the vocabulary, in lower case, words apart. ``calm`` is not among them: RAVDESS has it next to
#: neutral, as something else.
SPELLINGS = {
    **{name: name for name in EXPRESSIONS},
    **{"happy": "happiness", "joy": "happiness", "joyful": "happiness", "smile": "happiness", "smiling": "happiness"},
    **{"sad": "sadness", "angry": "anger", "disgusted": "disgust"},
    **{"fearful": "fear", "scared": "fear", "afraid": "fear"},
    **{"surprised": "surprise", "contemptuous": "contempt"},
    **{"neutrality": "neutral", "natural": "neutral", "normal": "neutral", "no emotion": "neutral"},
}

#: What raters may vote for, in the order in which their votes are counted: FER+ has two votes that are no expression.
VOTES = (*EXPRESSIONS, "unknown", "no_face")

BASIC_SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")

#: Published work says "seven classes" of two different sets, so the seventh is part of the name.
CLASS_SETS = {
    "6": BASIC_SIX,
    "7-contempt": tuple(name for name in EXPRESSIONS if name in (*BASIC_SIX, "contempt")),
    "7-neutral": tuple(name for name in EXPRESSIONS if name in (*BASIC_SIX, NEUTRAL)),
    "8": EXPRESSIONS,
}


def folded(text: str) -> str:
    """``text`` as one form of all that a person takes for the same: composed (NFC), lower case, no blanks around it.

    Names that macOS writes are decomposed (NFD), and equal no others otherwise.
    """
    return unicodedata.normalize("NFC", text).strip().casefold()


def expression(text: str) -> str | None:
    """The vocabulary's name for ``text``, None if it means none of them.

    >>> expression("Happy"), expression("no_emotion"), expression("calm")
    ('happiness', 'neutral', None)
    """
    return SPELLINGS.get(" ".join(folded(text).replace("_", " ").replace("-", " ").split()))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The given expressions, each once, in the vocabulary's order.

    Raises :class:`~fer_cli.errors.UsageError` for a name that is not in the vocabulary.
    """
    names = set(names)
    unknown = sorted(names.difference(EXPRESSIONS))
    if unknown:
        raise UsageError(
            f"Not in the vocabulary: {', '.join(unknown)}.",
            hint=f"The expressions are {', '.join(EXPRESSIONS)}.",
        )
    return tuple(name for name in EXPRESSIONS if name in names)


def class_set(text: str) -> tuple[str, ...]:
    """The classes named by ``text``: a set (``6``, ``7-contempt``, ``7-neutral``, ``8``) or a comma-separated list.

    >>> class_set("6")
    ('anger', 'disgust', 'fear', 'happiness', 'sadness', 'surprise')
    >>> class_set("surprise,neutral")
    ('neutral', 'surprise')
    """
    text = text.strip().lower()
    if text in CLASS_SETS:
        return CLASS_SETS[text]
    if text == "7":
        raise UsageError(
            "'7' could mean either of two class sets.",
            hint="Type --classes 7-contempt or --classes 7-neutral.",
        )
    try:
        classes = in_order(expression(name) or name.strip() for name in text.split(",") if name.strip())
    except UsageError as error:
        raise UsageError(
            error.message,
            hint=f"Type one of {', '.join(CLASS_SETS)}, or a list such as neutral,happiness of "
            f"{', '.join(EXPRESSIONS)}.",
        ) from None
    if len(classes) < 2:
        raise UsageError(f"'{text}' names {len(classes)} class(es); a classifier needs two or more.")
    return classes


def class_set_name(classes: tuple[str, ...]) -> str:
    """Name of a class set in a protocol line: ``7 classes with contempt``, ``6 classes``, or the list itself.

    >>> class_set_name(CLASS_SETS["7-contempt"])
    '7 classes with contempt'
    """
    for name, members in CLASS_SETS.items():
        if tuple(classes) == members:
            size, _, seventh = name.partition("-")
            return f"{size} classes" + (f" with {seventh}" if seventh else "")
    return f"{len(classes)} classes ({', '.join(classes)})"
