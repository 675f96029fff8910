"""What ``fer demo`` reaches, over seeds of its training.

    python benchmarks/demo.py [FOLDER] [--seeds 5]

The demo's corpus is drawn once, into FOLDER (demo-seeds), and its training line is run with seeds 0, 1 and so on. Each
accuracy on the test fold is printed, then their mean, standard deviation and range. Another machine rounds otherwise,
which changes a training as another seed does: the range is what repeats.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

TRAIN = ["--encoder", "scratch", "--backbone", "mobilenet_v3_small", "--size", "96", "--epochs", "24", "--lr", "0.002"]


def fer(*words: str | Path) -> None:
    """Run a line of the program."""
    subprocess.run([sys.executable, "-m", "fer_cli", *map(str, words)], check=True)


def main() -> None:
    """Train with each seed and print what they reach."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo-seeds"))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    data = arguments.folder / "data"
    fer("prepare", "synthetic", arguments.folder / "corpus", "--frames", "4", "--out", data)
    reached = []
    for seed in range(arguments.seeds):
        run = arguments.folder / f"seed{seed}"
        if not (run / "evaluation" / "metrics.json").is_file():
            fer("train", "difference", "--data", data, "--out", run, *TRAIN, "--seed", seed)
        reached.append(json.loads((run / "evaluation" / "metrics.json").read_text())["accuracy"])
        print(f"seed {seed}: {reached[-1]:.3f}", flush=True)
    mean, deviation = statistics.mean(reached), statistics.stdev(reached) if len(reached) > 1 else 0.0
    print(f"{mean:.3f} ± {deviation:.3f}, {min(reached):.3f} to {max(reached):.3f} over {len(reached)} seeds")


if __name__ == "__main__":
    main()
