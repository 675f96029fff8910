"""What a reader needs to repeat a result: the commands, the versions, the data's fingerprint, the seed."""

import shlex
from collections.abc import Sequence

from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.runs.run import CARD, CROSS_VALIDATION, Run


def commands(runs: Sequence[Run], command: str) -> list[tuple[str, str]]:
    """Command lines, each with what it does; ``command`` is what evaluated the runs, where a person typed it."""
    first, many = runs[0], len(runs) > 1
    card = first.path.parent / CROSS_VALIDATION if many else first.path / CARD
    again = shlex.join(["fer", "train", first.card["model"], "--config", str(card)]) + (" --cv" if many else "")
    told = [("As it was trained:", first.card["command"])] if first.card["command"] else []
    told.append(("To train it again, with the same recipe and seed:", again))
    folder = first.path.parent if many else first.path
    return [*told, ("To evaluate it again:", command or shlex.join(["fer", "evaluate", str(folder)]))]


def facts(runs: Sequence[Run], dataset: PreparedDataset) -> list[tuple[str, str]]:
    """What the result depends on, by name."""
    card = runs[0].card
    recipe = card["recipe"]
    versions = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items())
    known = [
        ("model", card["model"]),
        ("seed", recipe.get("seed")),
        ("fold", ", ".join(str(run.fold) for run in runs)),
        ("epoch kept", ", ".join(str(run.card.get("best", {}).get("epoch", "–")) for run in runs)),
        ("trained on", f"{card['dataset'].get('name')}, fingerprint {card['dataset'].get('fingerprint')}"),
        ("tested on", f"{dataset.name}, fingerprint {dataset.fingerprint}"),
        ("device", f"{card.get('device')}, {card.get('precision')}"),
        ("versions", versions),
        ("recipe", ", ".join(f"{name} {_shown(value)}" for name, value in recipe.items() if value not in (None, ""))),
    ]
    return [(name, str(value)) for name, value in known if value not in (None, "")]


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
