"""The owners' splits by the names that people give them."""

from fer_cli.errors import CorpusError
from fer_cli.labels import folded

SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_named(text: str, where: str) -> str:
    """``train``, ``val`` or ``test`` for any of :data:`SPELLINGS`, in any case.

    Raises :class:`~fer_cli.errors.CorpusError` for another, which stands at ``where``: its pictures would be nowhere.
    """
    try:
        return SPELLINGS[folded(text)]
    except KeyError:
        raise CorpusError(
            f"The split '{text}' of {where} is none.", hint=f"Its name may be {', '.join(SPELLINGS)}."
        ) from None
