"""How long ``fer --help`` and every ``fer COMMAND --help`` take, as whole processes: the median of five, in seconds.

python benchmarks/help.py
"""

import subprocess
import sys
import time
from statistics import median

COMMANDS = (
    *((), ("prepare",), ("prepare", "ckplus"), ("prepare", "files"), ("prepare", "synthetic")),
    *(("train",), ("train", "difference"), ("evaluate",), ("predict",), ("demo",)),
)
REPEATS = 5


def seconds(*words: str) -> float:
    """How long one process takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "fer_cli", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    for command in COMMANDS:
        line = (*command, "--help")
        print(f"{median(seconds(*line) for _ in range(REPEATS)):.2f}  fer {' '.join(line)}")
