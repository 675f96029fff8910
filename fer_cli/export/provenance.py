"""Provenance of a run's weights: the corpora and the published weights behind them, and the line that was typed."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_cli.corpora import corpora
from fer_cli.corpora.base import NOT_STATED, Terms
from fer_cli.errors import FerError
from fer_cli.models import BEST, FACES, IMAGENET, NO_IDENTITY, SCRATCH, SUBJECTS, TIMM, TINY_VIT, VGGFACE2, VIT_B16
from fer_cli.models.weights import ALL
from fer_cli.pretrained import NAMES, packaged_model
from fer_cli.runs.run import ANYBODYS, Run, seen_behind

#: The runs before a run that are opened in turn.
_GENERATIONS = 10


@dataclass(frozen=True)
class Source:
    """A corpus or published weights behind a run's weights.

    ``role`` is what it was for; ``faces`` and ``people`` how many, where that is known. ``condition`` is that of its
    owners for its use, ``permission`` what they say of publishing what is made from it, ``link`` where to read it;
    ``publishable`` is True where they allow that to everybody who keeps to their licence.
    """

    name: str
    role: str
    owner: str
    condition: str
    permission: str
    link: str = ""
    publishable: bool = False
    faces: int | None = None
    people: int | None = None


_UNKNOWN = Terms("not known to fer", "not known to fer", "")


def corpora_behind(run: Run) -> list[Source]:
    """The corpora that the run's weights, or those that it started from, were trained on or chosen by."""
    card, seen = run.card, seen_behind(run.path)
    own = card["dataset"].get("corpus", card["protocol"]["corpus"])
    counts = card.get("counts") or {}
    name = card["protocol"]["corpus"] if own == ANYBODYS else own
    found = [_corpus(own, name, "training", counts.get("train"), len(card["subjects"]["train"]) or None)]
    for extra in card.get("extra_data", []):
        found.append(_corpus(extra["corpus"], extra.get("name", extra["corpus"]), "training too", extra.get("count")))
    listed = {own, *(extra["corpus"] for extra in card.get("extra_data", []))}
    for corpus in sorted(seen.keys() - listed):
        found.append(
            _corpus(corpus, corpus, "before: the weights that it starts from", None, len(seen[corpus]) or None)
        )
    packaged = _of_packaged_model()
    for data in card.get("unlisted", []):
        name = f"pictures of fingerprint {data['fingerprint'][:16]}"
        source = _corpus(ANYBODYS, name, "before: the weights that it starts from")
        found.append(packaged.get(data["fingerprint"], source))
    return found


def _of_packaged_model() -> dict[str, Source]:
    """What the packaged model was trained on besides a named corpus, by fingerprint."""
    try:
        folder = packaged_model()
        extra = [] if folder is None else Run.open(folder).card.get("extra_data", [])
    except FerError:
        return {}
    return {
        each["fingerprint"]: Source(
            f"{each.get('name', each['corpus'])} of {FACES}",
            "before: the weights that it starts from",
            "github.com/muxspace/facial_expressions, on pictures of Labeled Faces in the Wild",
            "the labels Apache-2.0; press photographs from the web",
            NOT_STATED,
            "https://github.com/muxspace/facial_expressions",
            faces=each.get("count"),
        )
        for each in extra
    }


def _corpus(corpus: str, name: str, role: str, faces: int | None = None, people: int | None = None) -> Source:
    # Another seed of a drawn corpus draws other people, and names them so.
    kind = corpora().get(corpus.partition(" of ")[0])
    terms = _UNKNOWN if kind is None else kind.terms
    title = name if kind is None or corpus == ANYBODYS else kind.title
    return Source(
        title, role, terms.owner, terms.condition, terms.weights, terms.source, terms.publishable, faces, people
    )


def weights_behind(run: Run) -> list[Source]:
    """The published weights that the run, or a run that it started from, began with."""
    found = {source.name: source for source in _weights(run.card["recipe"], _GENERATIONS)}
    return list(found.values())


def _weights(recipe: dict[str, Any], generations: int) -> Iterator[Source]:
    encoder, backbone, identity = recipe.get("encoder"), recipe.get("backbone"), recipe.get("identity")
    if encoder == IMAGENET:
        yield _published(backbone or "mobilenet_v3_large", "the encoder's start")
    elif encoder == BEST and backbone:
        yield _published(backbone, "the encoder's start")
    elif encoder in NAMES:
        yield _published(encoder, "the encoder's start")
    elif encoder not in (None, BEST, SCRATCH):
        yield from _before(str(encoder), "the encoder's start", generations)
    for teacher in recipe.get("teacher", []):
        yield from _before(str(teacher), "a teacher", generations)
    if "pretrained" in recipe and recipe["pretrained"] and backbone not in (None, TINY_VIT):
        name = VIT_B16.rpartition("/")[2] if backbone == VIT_B16 else str(backbone)
        yield from _before(name, "the transformer's start", generations)
    if identity == VGGFACE2:
        yield _published(VGGFACE2, "the identity encoder of stage 1")
    elif identity not in (None, BEST, SUBJECTS, NO_IDENTITY):
        yield from _before(str(identity), "the identity encoder of stage 1", generations)


def _published(name: str, role: str) -> Source:
    weights = ALL.get(name)
    if weights is not None:
        return Source(name, role, weights.home, weights.licence, weights.permission, publishable=weights.publishable)
    link = f"https://huggingface.co/{name}" if "/" in name else ""
    home = f"huggingface.co/{name}" if "/" in name else "not known to fer"
    kind = "timm's, as its card says" if name.startswith(TIMM) else "as its card says"
    return Source(name, role, home, kind, NOT_STATED, link)


def _before(source: str, role: str, generations: int) -> Iterator[Source]:
    """What an earlier run began with; else the weights of that name, or a file of nobody knows whose."""
    if source in ALL:
        yield _published(source, role)
        return
    path = Path(source)
    try:
        earlier = Run.open(path) if generations and path.is_dir() else None
    except FerError:
        earlier = None
    if earlier is not None:
        yield from _weights(earlier.card["recipe"], generations - 1)
    elif path.is_absolute() or path.exists() or source.count("/") != 1:
        yield Source(path.name, role, "not known to fer", "not known to fer", NOT_STATED)
    else:
        yield _published(source, role)


def typed(command: str) -> str:
    """A line that was typed, without the folders that lead to what it names."""
    try:
        return shlex.join(map(without_folders, shlex.split(command)))
    except ValueError:
        return ""


def without_folders(value: Any) -> Any:
    """The value; of an absolute path, or an option's, the last part."""
    if not isinstance(value, str):
        return value
    name, equals, rest = value.rpartition("=")
    if Path(rest).is_absolute() or re.match(r"[A-Za-z]:[\\/]|\\\\|~", rest):
        *_, last = re.split(r"[\\/]", rest.rstrip("/"))
        return f"{name}{equals}{last}"
    return value
