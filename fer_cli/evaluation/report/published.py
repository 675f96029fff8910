"""Published results: comparable only where the protocol is the same."""

from typing import NamedTuple

#: Where the protocol beyond the classes is not recorded.
NOT_RECORDED = "not recorded"


class Published(NamedTuple):
    """One result: ``accuracy`` in percent on ``corpus``, under ``protocol`` as far as it is recorded.

    ``checked`` says whether it was compared with the paper: ``yes``, ``abstract`` (with its abstract alone), or
    ``no`` (it was taken from others' tables).
    """

    method: str
    corpus: str
    accuracy: str
    protocol: str
    checked: str


PUBLISHED = (
    Published("ViT-SE (2021)", "CK+", "99.80", "7 classes", "yes"),
    Published("SD-CNN, self-difference", "CK+", "99.7", NOT_RECORDED, "abstract"),
    Published("FAN (2019)", "CK+", "99.69", NOT_RECORDED, "yes"),
    Published("DDL", "CK+", "99.16", NOT_RECORDED, "no"),
    Published("FN2EN (2017)", "CK+", "98.6", "6 classes", "no"),
    Published("FN2EN (2017)", "CK+", "96.8", "8 classes", "no"),
    Published("PHRNN-MSCNN (2017)", "CK+", "98.50", NOT_RECORDED, "yes"),
    Published("Kuo et al. (2018)", "CK+", "98.47", NOT_RECORDED, "yes"),
    Published("IDFERM", "CK+", "98.35", NOT_RECORDED, "no"),
    Published("TDGAN", "CK+", "97.53", NOT_RECORDED, "no"),
    Published("DeRL (2018)", "CK+", "97.30", "7 classes", "yes"),
    Published("DDL", "MMI", "83.67", NOT_RECORDED, "no"),
    Published("IDFERM", "MMI", "81.13", NOT_RECORDED, "no"),
    Published("(N+M) tuplet metric learning (2017)", "MMI", "78.53", NOT_RECORDED, "yes"),
    Published("DLP-CNN", "MMI", "78.46", NOT_RECORDED, "yes"),
    Published("DeRL (2018)", "MMI", "73.23", NOT_RECORDED, "yes"),
    Published("Kuo et al. (2018)", "Oulu-CASIA", "91.67", NOT_RECORDED, "yes"),
    Published("SD-CNN, self-difference", "Oulu-CASIA", "91.3", NOT_RECORDED, "abstract"),
    Published("DDL", "Oulu-CASIA", "88.26", NOT_RECORDED, "no"),
    Published("DeRL (2018)", "Oulu-CASIA", "88.0", NOT_RECORDED, "no"),
    Published("FN2EN (2017)", "Oulu-CASIA", "87.7", NOT_RECORDED, "no"),
    Published("ViT (2021, plain)", "JAFFE", "94.83", NOT_RECORDED, "no"),
    Published("ViT-SE (2021)", "RAF-DB", "87.22", NOT_RECORDED, "no"),
    Published("ViT-SE (2021)", "SFEW", "54.29", NOT_RECORDED, "no"),
)


def published_on(corpus: str) -> list[Published]:
    """Every published result, those on ``corpus`` (a protocol's name of it) first."""
    return sorted(PUBLISHED, key=lambda row: not corpus.startswith(row.corpus))
