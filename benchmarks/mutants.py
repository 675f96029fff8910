"""Mutation testing: the share of small faults, put into the code one at a time, that the tests do not notice.

    pip install mutmut
    python benchmarks/mutants.py                      every part, 60 mutants each
    python benchmarks/mutants.py pairing --sample 0   every mutant of one part

The mutants are a random sample by ``--seed``. mutmut makes them and runs the tests that reach each, in a copy of the
checkout under ``--out``; what survives is listed with its change. Only the tests that answer for a part are run: not
those that start processes of their own, which take minutes, and of which mutmut cannot tell what they reach. A mutant
that no test reaches survives.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: By part: the files that are mutated, and the tests that answer for them.
PARTS = {
    "trainer": (
        [f"fer_cli/training/{name}.py" for name in ("augmentation", "callbacks", "optimizer", "trainer")],
        [
            f"tests/training/test_{name}.py"
            for name in ("augmentation", "balance", "decay", "ema", "given", "optimizer", "precision", "trainer")
        ],
    ),
    "recipes": (
        # Not __init__: it runs when it is imported, before mutmut turns a mutant on.
        ["fer_cli/training/recipes/[!_]*.py"],
        [f"tests/training/test_{name}.py" for name in ("disentangled", "given", "head", "recipe", "starts")],
    ),
    "fit": (
        [f"fer_cli/training/{name}.py" for name in ("cross_validation", "fit", "folder", "samples")],
        [
            f"tests/training/test_{name}.py"
            for name in (
                "cross_validation",
                "fit",
                "folder",
                "given",
                "history",
                "leakage",
                "neutral_mean",
                "samples",
                "variants",
            )
        ],
    ),
    "pairing": (
        ["fer_cli/dataset/pairing.py"],
        ["tests/dataset/test_pairing.py", "tests/dataset/test_samples.py"],
    ),
    "metrics": (
        ["fer_cli/evaluation/metrics.py"],
        [f"tests/evaluation/test_{name}.py" for name in ("confusion_metrics", "metrics", "roc_auc", "values")],
    ),
    "embeddings": (["fer_cli/embeddings/*.py"], ["tests/embeddings"]),
}


def prepare(part: str, out: Path) -> None:
    """A copy of the checkout in ``out``, which mutmut mutates by the ``part``'s settings."""
    files, tests = PARTS[part]
    shutil.rmtree(out, ignore_errors=True)
    for folder in ("fer_cli", "tests"):
        shutil.copytree(ROOT / folder, out / folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": ["fer_cli"],
        "only_mutate": files,
        "pytest_add_cli_args": ["-n0", "-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [name for name in tests if (ROOT / name).exists()],
        # Torch's autograd refuses to work in the fork of a process that it has worked in.
        "process_isolation": "forkserver",
        "timeout_constant": 20.0,
        # The functions that a change reaches need not be known: nothing is run twice.
        "track_dependencies": False,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (out / "pyproject.toml").write_text("\n".join([project, "[tool.mutmut]", *lines, ""]), encoding="utf-8")


def mutants(part: str, out: Path) -> list[str]:
    """The names of all mutants of a ``part``, sorted."""
    listing = (
        "import sys; from pathlib import Path\n"
        "from mutmut.mutation.file_mutation import mutate_file_contents\n"
        "from mutmut.utils.format_utils import get_mutant_name\n"
        "for file in map(Path, sys.argv[1:]):\n"
        "    for name in mutate_file_contents(str(file), file.read_text()).mutant_names:\n"
        "        print(get_mutant_name(file, name))\n"
    )
    files = [str(path.relative_to(out)) for pattern in PARTS[part][0] for path in sorted(out.glob(pattern))]
    done = subprocess.run([sys.executable, "-c", listing, *files], cwd=out, text=True, capture_output=True, check=True)
    return sorted(done.stdout.split())


def mutmut(*words: str, out: Path) -> str:
    """What ``mutmut WORDS`` prints in the folder ``out``."""
    line = [str(Path(sys.executable).with_name("mutmut")), *words]
    done = subprocess.run(line, cwd=out, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"mutmut {words[0]} failed in {out}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def measure(part: str, out: Path, *, sample: int, seed: int, processes: int) -> None:
    """Run a sample of a ``part``'s mutants, and print how many survive and which."""
    prepare(part, out)
    names = mutants(part, out)
    chosen = random.Random(seed).sample(names, min(sample or len(names), len(names)))
    mutmut("run", "--max-children", str(processes), *chosen, out=out)
    status = dict(re.findall(r"^ +(\S+): (.+)$", mutmut("results", "--all", "true", out=out), re.MULTILINE))
    counted = Counter(status[name] for name in chosen)
    survivors = sorted(name for name in chosen if status[name] in ("survived", "no tests"))
    print(f"{part}: {len(survivors)} of {len(chosen)} survive ({len(survivors) / len(chosen):.0%}),", end=" ")
    print(f"of {len(names)} mutants in all; {dict(counted)}", flush=True)
    for name in survivors:
        print(f"\n  {status[name]}: {mutmut('show', name, out=out)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--sample", type=int, default=60, help="mutants a part; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-out/mutants"))
    arguments = parser.parse_args()
    for each in arguments.parts or PARTS:
        where = (arguments.out / each).resolve()
        measure(each, where, sample=arguments.sample, seed=arguments.seed, processes=arguments.processes)
