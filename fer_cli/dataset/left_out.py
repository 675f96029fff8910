"""What a preparation left out, in the forms in which a person is told of it."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from fer_cli.corpora.record import LeftOut


def grouped(left_out: list[LeftOut]) -> list[dict[str, Any]]:
    """By reason, the faults first and then the most frequent: ``reason``, ``fault``, ``count``, ``paths``."""
    reasons = Counter((entry.reason, entry.fault) for entry in left_out)
    return [
        {
            "reason": reason,
            "fault": fault,
            "count": count,
            "paths": sorted(entry.path for entry in left_out if (entry.reason, entry.fault) == (reason, fault)),
        }
        for (reason, fault), count in sorted(reasons.items(), key=lambda item: (not item[0][1], -item[1], item[0][0]))
    ]


def commonest(left_out: list[LeftOut]) -> str:
    """A sentence with the three most frequent reasons, or nothing."""
    reasons = Counter(entry.reason for entry in left_out).most_common(3)
    return "Left out: " + "; ".join(f"{count} × {reason}" for reason, count in reasons) + "." if reasons else ""


def relative(left_out: list[LeftOut], root: Path) -> list[LeftOut]:
    """The same with paths from ``root``."""
    return [dataclasses.replace(entry, path=below(Path(entry.path), root)) for entry in left_out]


def below(path: Path, root: Path) -> str:
    """``path`` from ``root``."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
