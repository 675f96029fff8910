"""What stands in a prepared dataset's folder, by name."""

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
