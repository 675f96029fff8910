"""Whether a training that is killed at a random moment ends, by the same typed line, as if it had not been.

    python -m benchmarks.kills [--kills 20] [--seed 0] [MODEL …]

Each model is trained and evaluated once undisturbed, then again and again in a fresh folder: killed (SIGKILL) at a
moment drawn evenly over the undisturbed duration, and the line typed again. All that the run holds is then compared
byte for byte with the undisturbed one, the pictures and the report of the evaluation aside. The models are the smallest
there are, and learn labels that the validation fold contradicts, so that patience ends two of the trainings. Prints a
line a kill and a table; exits with 1 if anything differs. Works on systems that have fork.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", COLUMNS="160")

import argparse
import importlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from fer_cli.cli.app import app
from tests.made import made_dataset
from tests.training.test_kept_weights import contradicted

# What a training imports on its way is imported once, here, and not by every process that is killed.
for module in ("training.cross_validation", "evaluation.evaluate", "models.vit_se", "models.disentangled"):
    importlib.import_module(f"fer_cli.{module}")

COMMON = "--batch-size 2 --schedule constant --warmup 0 --logger none --device cpu"
SCRATCH = "--encoder scratch --backbone mobilenet_v3_small --augment light"
LINES = {
    "vit-se": f"vit-se --no-pretrained --backbone tiny --epochs 12 --patience 2 --lr 3e-3 {COMMON}",
    "difference": f"difference --tune-encoder {SCRATCH} --epochs 4 {COMMON}",
    "disentangled": f"disentangled --identity subjects {SCRATCH} --epochs 5 --patience 1 --lr 1e-2 --views 2 {COMMON}",
}
#: Files of an evaluation that carry the time or random names.
VARYING = re.compile(r"\.(svg|png|html)$")


def start(words: list[str]) -> int:
    """A process that types the words; gives its number."""
    child = os.fork()
    if not child:
        code = 1
        try:
            sys.stdout = sys.stderr = Path("said.txt").open("a")  # noqa: SIM115
            sys.argv = ["fer", *words]
            app()
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def wait(child: int) -> int:
    """The exit status of the process, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def held() -> dict[str, bytes]:
    """What the one run here holds, by name."""
    [run] = Path("runs").iterdir()
    files = (path for path in run.rglob("*") if path.is_file() and not VARYING.search(path.name))
    return {f"{run.name}/{path.relative_to(run)}": path.read_bytes() for path in files}


def reached() -> str:
    """How far the training in this folder has come: the part under way, and its last checkpoint."""
    if list(Path("runs").glob("*/run.json")):
        return "evaluation"
    parts = sorted(Path("runs").rglob("unfinished.json"), key=lambda path: len(path.parts))
    if not parts:
        return "start"
    checkpoints = len(list(parts[-1].parent.glob("checkpoints/*/trainer_state.json")))
    name = parts[-1].parent.name
    return f"{name if name in ('identity', 'stage1') else 'training'}{', from a checkpoint' if checkpoints else ''}"


def fresh(data: Path) -> None:
    """Empty this folder but for the dataset, of which no embedding is kept."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(data, "data/made")


def main() -> None:
    """Kill and compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"Of {', '.join(LINES)}; all if none is named.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    home = Path(tempfile.mkdtemp(prefix="fer-kills-"))
    data = contradicted(made_dataset(home / "made")).path
    (home / "here").mkdir()
    os.chdir(home / "here")
    table, begun = [], time.monotonic()
    for model in asked.models or LINES:
        fresh(data)
        now = time.monotonic()
        assert wait(start(["train", *LINES[model].split()])) == 0, Path("said.txt").read_text()
        duration = time.monotonic() - now
        whole = held()
        epochs = [content.count(b"\n") - 1 for name, content in whole.items() if name.endswith("epochs.csv")]
        at, same = Counter(), Counter()
        while at.total() < asked.kills:
            fresh(data)
            moment = chance.uniform(0, duration)
            child = start(["train", *LINES[model].split()])
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
            if wait(child) != -signal.SIGKILL:
                continue
            at[place := reached()] += 1
            code = wait(start(["train", *LINES[model].split()]))
            after = held()
            different = sorted(name for name in whole.keys() | after.keys() if whole.get(name) != after.get(name))
            when = f"{moment:6.2f} of {duration:.2f} s"
            print(f"{model:<13}{when}  {place:<28}exit {code}  {different or 'equal'}", flush=True)
            for kind in {name.rpartition("/")[2] for name in whole if name.endswith(".safetensors")}:
                same[kind] += not any(name.endswith(kind) for name in different)
            same["all files"] += not different and not code
        table.append((model, asked.kills, epochs, dict(same), dict(at)))
    print(f"\nmodel, kills, epochs trained, equal after the same line, killed in; {time.monotonic() - begun:.0f} s")
    for row in table:
        print(*row, sep="  ")
    shutil.rmtree(home)
    sys.exit(any(same["all files"] != kills for _, kills, _, same, _ in table))


if __name__ == "__main__":
    main()
