"""What stands in a prepared dataset's folder: its files' names, its table's columns, and its documents' fields."""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from fer_cli.protocol import StoredProtocol

#: One row a crop; the name that Hugging Face's ImageFolder looks for.
METADATA = "metadata.csv"
#: Corpus, protocol, counts, settings, checksums. Written last: a folder without it is not finished.
CARD = "dataset.json"
#: One line a crop: the picture it came from, the faces found there, the points it was aligned by.
FACES = "faces.jsonl"
#: The settings of a preparation under way.
UNFINISHED = "unfinished.json"
IMAGES = "images"
#: What frozen encoders made of the crops, a file an encoder.
EMBEDDINGS = "embeddings"

#: Raised when a change makes older folders unreadable or older crops different.
VERSION = 1

COLUMNS = (
    "file_name",
    "label",
    "subject",
    "sequence",
    "frame",
    "role",
    "neutral_file_name",
    "split",
    "fold",
)

ROLES = ("neutral", "apex")

#: The owners' own division, where there is one.
SPLITS = ("train", "val", "test")


class Version(TypedDict):
    """What any version's card has."""

    version: int


class CropDocument(TypedDict):
    """The settings of the crops: their side in pixels, the room around the face, and how it was found."""

    size: Annotated[int, Meta(ge=1, le=10_000)]
    margin: float
    detector: str


class Checksums(TypedDict):
    """Digests of the table and of all crops."""

    metadata: str
    crops: str


class CardDocument(TypedDict):
    """The fields of ``dataset.json`` that are read again."""

    version: int
    corpus: str
    protocol: StoredProtocol
    crop: CropDocument
    checksums: Checksums


class Counts(TypedDict):
    """What a preparation counted."""

    found: dict[str, int]
    crops: int
    subjects: int
    sequences: int
    pairs: int
    without_subject: int
    per_class: dict[str, int]
    pictures_with_several_faces: int


class LeftOutDocument(TypedDict):
    """What was left out for one reason."""

    reason: str
    fault: bool
    count: int
    paths: list[str]


class FinishedCard(CardDocument):
    """The fields of ``dataset.json`` that a summary shows."""

    settings: dict[str, Any]
    counts: Counts
    left_out: list[LeftOutDocument]


class FaceDocument(TypedDict):
    """The fields of a line of ``faces.jsonl`` that are read again."""

    file_name: str
    sha256: str
    faces_found: int
    source: NotRequired[str]
