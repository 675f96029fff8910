"""The protocol: which classes, which frames, which folds, and in what order these were chosen.

A number means nothing without it, so it is stored with the dataset, carried by every run and printed next to every
result.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from fer_cli.labels import EXPRESSIONS, class_set_name

FOLD_RULES = ("id-step", "stratified-group")


class StoredProtocol(TypedDict):
    """A :class:`Protocol` as JSON holds it; ``pairing`` is absent in what was written before it was noted.

    ``draw`` is absent where the folds are the first that were drawn.
    """

    name: NotRequired[str]
    corpus: str
    # Literals for msgspec, which checks them; the names stand once, where a type checker does not look.
    classes: Annotated[list[Literal[EXPRESSIONS]], Meta(min_length=2, max_length=len(EXPRESSIONS))]  # type: ignore[valid-type]
    frames: str
    folds: Annotated[int, Meta(ge=0, le=10_000)]
    fold_rule: Literal[FOLD_RULES]  # type: ignore[valid-type]
    order: str
    pairing: NotRequired[str]
    draw: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Protocol:
    """Rules for choosing and dividing samples.

    ``folds`` is 0 where no subject-independent folds can be made. ``order`` says whether the class filter came before
    the folds were drawn: on CK+ with six classes the two orders put seven subjects into different folds. ``pairing``
    says which neutral picture a sample is compared with; it is empty where there is none, and in what was written
    before this was noted. ``draw`` says which folds or subjects were drawn in place of the dataset's first ones, as
    :func:`fer_cli.dataset.draws.redraw` does; it is empty for these.
    """

    corpus: str
    classes: tuple[str, ...]
    frames: str
    folds: int
    fold_rule: str
    order: str = "filter, then fold"
    pairing: str = ""
    draw: str = ""

    @property
    def name(self) -> str:
        """One line for people.

        >>> Protocol("Made", ("anger", "fear"), "stills", 3, "id-step", pairing="neutral of the same session").name
        'Made 2 classes (anger, fear), stills, neutral of the same session, 3 folds by ID step 3'
        """
        parts = [f"{self.corpus} {class_set_name(self.classes)}", self.frames, *filter(None, [self.pairing])]
        if not self.folds:
            parts.append("no folds")
        elif self.fold_rule == "id-step":
            parts.append(f"{self.folds} folds by ID step {self.folds}")
        else:
            parts.append(f"{self.folds} stratified folds of subjects")
        return ", ".join([*parts, *filter(None, [self.draw])])

    def to_dict(self) -> dict[str, Any]:
        """The protocol as JSON holds it, its name first."""
        stored = {"name": self.name, **asdict(self), "classes": list(self.classes)}
        # Records of before, which a preparation or a training is recognised by, do not have it.
        return stored if self.draw else {name: value for name, value in stored.items() if name != "draw"}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Protocol":
        """The protocol that :meth:`to_dict` wrote."""
        return cls(
            corpus=str(stored["corpus"]),
            classes=tuple(stored["classes"]),
            frames=str(stored["frames"]),
            folds=int(stored["folds"]),
            fold_rule=str(stored["fold_rule"]),
            order=str(stored["order"]),
            pairing=str(stored.get("pairing", "")),
            draw=str(stored.get("draw", "")),
        )
