"""The session: what a call of the library takes from whoever makes it, and hands down unchanged."""

from dataclasses import dataclass

from fer_cli.progress import Progress, silent


@dataclass(frozen=True)
class Session:
    """Where a call computes, what it allows, how it was typed, and whom it tells how far it is.

    ``device`` is as :func:`~fer_cli.models.device.choose_device` takes it. ``allow_seen`` allows an evaluation on
    subjects that the model was trained on, which every result then says. ``command`` is the line that was typed, for
    the record; empty where none was. ``tta`` replaces the test-time augmentation that is stored with a run: ``none`` or
    ``flip``.
    """

    device: str = "auto"
    allow_seen: bool = False
    command: str = ""
    progress: Progress = silent
    tta: str | None = None


#: Any device, nothing allowed, nobody told.
DEFAULT_SESSION = Session()
