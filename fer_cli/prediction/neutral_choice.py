"""What a person can say of neutral faces; importable without torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_doc import Doc

from fer_cli.errors import UsageError

AUTO, MEAN = "auto", "mean"


@dataclass(frozen=True)
class NeutralChoice:
    """Where a paired model's neutral faces come from.

    Raises :class:`~fer_cli.errors.UsageError` for what cannot be meant.
    """

    neutral: Annotated[
        str,
        Doc(
            "What paired models compare a face with. auto: each person's most neutral picture among those given, found "
            "by grouping the faces; the average of the training where there is none. mean: that average for all. Or a "
            "picture of the person; or, of several people, a folder of pictures named for them or a CSV with the "
            "columns subject and file."
        ),
    ] = AUTO
    identity: Annotated[
        str | None,
        Doc(
            "With auto, what tells people apart: vggface2 (see fer weights), a run, or a file of weights. Default: the "
            "imported vggface2, else the identity encoder in the run, else the run's own encoder."
        ),
    ] = None
    identity_threshold: Annotated[
        float | None,
        Doc(
            "With auto, the cosine distance (0 to 2) up to which faces are one person's. Default: measured on people "
            "whom the identity encoder was not trained on, where its run knows some, else 0.5."
        ),
    ] = None
    neutral_classifier: Annotated[
        str | None,
        Doc(
            "With auto, the model of single faces that says which picture is neutral. Default: the latest run beside "
            "this one with neutral among its classes."
        ),
    ] = None

    def __post_init__(self):
        if self.identity_threshold is not None and not 0 < self.identity_threshold <= 2:
            raise UsageError(f"--identity-threshold {self.identity_threshold}: above 0 and up to 2 is possible.")
        for flag, value in (
            ("--identity", self.identity),
            ("--identity-threshold", self.identity_threshold),
            ("--neutral-classifier", self.neutral_classifier),
        ):
            if value is not None and self.neutral != AUTO:
                raise UsageError(f"{flag} is for --neutral auto, and --neutral is {self.neutral}.")
