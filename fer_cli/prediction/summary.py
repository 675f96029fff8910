"""The sum of what was predicted."""

from collections import Counter
from dataclasses import dataclass, field

from fer_cli.prediction.outcomes import Outcome


@dataclass
class Summary:
    """Counts: ``shots`` looked at, of which ``used`` gave a row; ``faces``, and how many of each label; ``faults``."""

    shots: int = 0
    used: int = 0
    faces: int = 0
    faults: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def write(self, outcome: Outcome) -> None:
        """Count what came of a shot."""
        self.faults += sum(missed.fault for missed in outcome.missed)
        if outcome.shot.end:
            return
        self.shots += 1
        self.used += bool(outcome.predictions)
        self.faces += len(outcome.predictions)
        self.labels.update(prediction.label for prediction in outcome.predictions)
