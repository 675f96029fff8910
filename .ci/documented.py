"""The lines of README.md and docs/, run one after the other by an installed fer, in a folder of its own for each page.

PYTHON .ci/documented.py [--list] [--long] [PAGE…]

The fer that runs is that next to PYTHON. What the lines take for granted is made of drawn faces (home.py), and the
Hugging Face Hub is the stand-in of the tests, on the loopback. A block after ``<!-- needs: … -->`` is skipped, and
counted with what it needs; one that needs an extra, such as fer-cli[video], is run where that is installed. A block
after ``<!-- takes: … -->`` is run with --long.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import home as made

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?:<!-- (?P<why>needs|takes): (?P<what>[^>]+) -->\s*)?```(?P<kind>sh|python)\n(?P<code>.*?)```", re.DOTALL
)
SECONDS = 1800
#: What photographs are prepared with; FER_YUNET names it.
YUNET = "YuNet's file"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--list", action="store_true", help="Count, and run nothing.")
    parser.add_argument("--long", action="store_true", help="Run what takes long, too.")
    parser.add_argument("--keep", type=Path, help="Make everything in this folder, and leave it there.")
    given = parser.parse_args()
    pages = [page.resolve() for page in given.pages] or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    skipped, failed, ran = Counter(), [], 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        home = folder.resolve() / "home"
        environment = surroundings(home)
        if not given.list and not home.exists():
            made.make(home, lambda lines, where: require(lines, where, environment))
        for page in pages:
            place, began, before = folder.resolve() / page.stem, time.monotonic(), ran
            if not given.list:
                shutil.copytree(home / "start", place)
            for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
                lines = count(block["kind"], block["code"])
                if block["why"] and not is_had(block["what"], takes=block["why"] == "takes", long=given.long):
                    skipped[block["what"]] += lines
                    continue
                ran += lines
                if not given.list and not run(block["kind"], block["code"], place, environment):
                    failed.append(f"{page.relative_to(ROOT)}:\n{block['code']}")
            if not given.list and ran > before:
                print(f"{page.relative_to(ROOT)}: {ran - before} lines, {time.monotonic() - began:.0f} s", flush=True)
    what = "to run" if given.list else "run"
    print(f"{ran} documented lines {what}, {len(failed)} blocks failed; {skipped.total()} lines skipped, which need:")
    for needs, lines in skipped.most_common():
        print(f"  {lines:4}  {needs}")
    for each in failed:
        print(f"FAILED {each}", file=sys.stderr)
    sys.exit(bool(failed))


def count(kind: str, code: str) -> int:
    """Commands of a shell block, or 1 for a script in Python."""
    if kind == "python":
        return 1
    return len([line for line in code.replace("\\\n", " ").splitlines() if line.strip()[:1] not in ("", "#")])


def is_had(what: str, *, takes: bool, long: bool) -> bool:
    """Whether what a block needs is here: time, or an extra's packages."""
    if takes:
        return long
    if what == YUNET:
        return Path(os.environ.get("FER_YUNET", "")).is_file()
    extra = re.fullmatch(r"fer-cli\[(\w+)\]", what)
    if extra is None:
        return False
    needed = [each for each in requires("fer-cli") or [] if re.search(rf"extra == ['\"]{extra[1]}['\"]", each)]
    try:
        return bool(needed) and all(distribution(re.match(r"[\w.-]+", each)[0]) for each in needed)
    except PackageNotFoundError:
        return False


def surroundings(home: Path) -> dict[str, str]:
    """The environment of the lines: a home folder, the fer next to this Python, and the stand-in for the Hub."""
    sys.path.append(str(ROOT))
    from tests.hub import TOKEN, Hub

    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("FER_", "HF_")) or name == "FER_YUNET"
    }
    return {
        **inherited,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
    }


def require(lines: str, folder: Path, environment: dict[str, str]) -> None:
    """Run what the pages' lines start from."""
    if not run("sh", lines, folder, environment):
        sys.exit("what the pages' lines start from cannot be made")


def run(kind: str, code: str, folder: Path, environment: dict[str, str]) -> bool:
    """Whether the block ends well in ``folder``: each of its lines with 0, or 3 (some inputs skipped)."""
    if kind == "python":
        lines = f"{sys.executable} - <<'DOCUMENTED'\n{code}\nDOCUMENTED\n"
    else:
        # Some inputs skipped is an end that pages describe.
        lines = f'fer() {{ command fer "$@" || {{ local code=$?; [ $code = 3 ] || return $code; }}; }}\n{code}'
    try:
        done = made.shell(lines, folder, environment, SECONDS)
    except subprocess.TimeoutExpired:
        print(f"no end after {SECONDS} s:\n{code}", file=sys.stderr)
        return False
    if done.returncode:
        print(f"$ {code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    main()
