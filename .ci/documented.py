"""The lines of README.md and docs/, run one after the other by an installed fer, in a folder of its own for each page.

python .ci/documented.py [--list] [PAGE…]

A home folder is made first: a corpus of drawn faces in CK+'s layout as ~/corpora/CK+, and in each page's folder a few
of them as ./images, and the corpus prepared as data/ckplus. A block after <!-- needs: … --> is skipped, and
counted with what it needs.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^>]+) -->\s*)?```(?P<kind>sh|python)\n(?P<code>.*?)```", re.DOTALL)
SECONDS = 600


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("pages", nargs="*", type=Path)
    arguments.add_argument("--list", action="store_true", help="Count, and run nothing.")
    given = arguments.parse_args()
    pages = given.pages or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    skipped, failed, ran = Counter(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if not given.list:
            prepare(home)
        for page in pages:
            place = Path(folder) / page.stem
            if not given.list:
                shutil.copytree(home / "start", place)
            for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
                lines = count(block["kind"], block["code"])
                if block["needs"]:
                    skipped[block["needs"]] += lines
                    continue
                ran += lines
                if not given.list and not run(block["kind"], block["code"], place, home):
                    failed.append(f"{page.relative_to(ROOT)}:\n{block['code']}")
    print(f"{ran} documented lines {'to run' if given.list else 'run'}, {skipped.total()} skipped, which need:")
    for needs, lines in skipped.most_common():
        print(f"  {lines:4}  {needs}")
    for each in failed:
        print(f"FAILED {each}", file=sys.stderr)
    sys.exit(bool(failed))


def count(kind: str, code: str) -> int:
    """Commands of a shell block, or 1 for a script in Python."""
    if kind == "python":
        return 1
    return len([line for line in code.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")])


def prepare(home: Path) -> None:
    """Make what a person who reads the pages has: a corpus, pictures, a dataset, a run."""
    start = home / "start"
    start.mkdir(parents=True)
    corpus = home / "corpora" / "CK+"
    lines = f"""
    fer prepare synthetic {corpus} --subjects 12 --frames 4 --out {home}/drawn
    fer prepare ckplus {corpus}
    mkdir images
    cp data/ckplus/images/S001/*.png images/
    """
    if not run("sh", lines, start, home):
        sys.exit("what the pages' lines start from cannot be made")


def run(kind: str, code: str, folder: Path, home: Path) -> bool:
    """Whether the block ends well in ``folder``."""
    command = ["bash", "-euo", "pipefail", "-c", code] if kind == "sh" else [sys.executable, "-c", code]
    environment = {**os.environ, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        print(f"no end after {SECONDS} s:\n{code}", file=sys.stderr)
        return False
    # Some inputs skipped is an end that pages describe.
    if done.returncode not in (0, 3):
        print(f"$ {code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}", file=sys.stderr)
    return done.returncode in (0, 3)


if __name__ == "__main__":
    main()
