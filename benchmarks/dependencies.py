"""The size and the import time of each library that ``pip install fer-cli`` brings, in the environment that runs this.

python benchmarks/dependencies.py [--repeats N]

"own" is a library's own files on disk in MB; "brings" those and all that it asks for; "alone" what would go if fer-cli
did not ask for it: itself, and what nothing else needs. "import" is the time of fer_cli's own import lines of it in a
fresh process, with all that they import in turn: the median of N. The last column are the modules with those lines; a
library without any is imported by another, and its time is that of importing it by its name.
"""

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from statistics import median

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import fer_cli

PACKAGE = Path(fer_cli.__file__).parent
ROOT = "fer-cli"


def requirements(name: str, extras: frozenset[str] = frozenset()) -> Iterator[tuple[str, frozenset[str]]]:
    """What the installed distribution ``name`` with ``extras`` asks for here: names, and the extras of each."""
    for line in metadata.requires(name) or ():
        wanted = Requirement(line)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": each}) for each in extras or {""}):
            yield canonicalize_name(wanted.name), frozenset(wanted.extras)


def reached(start: list[tuple[str, frozenset[str]]]) -> set[str]:
    """The installed distributions that ``start`` and all that they ask for come to."""
    seen, waiting = set(), list(start)
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            waiting += [*requirements(name), *(requirements(name, extras) if extras else ())]
        except metadata.PackageNotFoundError:
            seen.remove((name, extras))
    return {name for name, _ in seen}


def megabytes(name: str) -> float:
    """The files of an installed distribution that lie on the disk, in 10^6 bytes."""
    paths = (Path(each.locate()) for each in metadata.files(name) or ())
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def modules_of() -> dict[str, set[str]]:
    """The top-level modules of each distribution."""
    found: dict[str, set[str]] = {}
    for module, names in metadata.packages_distributions().items():
        for name in names:
            found.setdefault(canonicalize_name(name), set()).add(module)
    return found


def import_lines() -> dict[str, set[tuple[str, str]]]:
    """The import lines of fer_cli, also within functions, by top-level module, each with where it stands."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        own = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add((own, ast.unparse(node)))
    return found


def seconds(lines: list[str], repeats: int) -> float:
    """How long the import ``lines`` take in a fresh process: the median of ``repeats``."""
    # A line may be one that needs an extra, which is not here.
    work = "\n".join(f"with suppress(ImportError):\n    {line}" for line in lines)
    clock = "from contextlib import suppress\nfrom time import perf_counter\nbegun = perf_counter()"
    code = f"{clock}\n{work}\nprint(perf_counter() - begun)"
    runs = (
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
        for _ in range(repeats)
    )
    return median(float(run.stdout.split()[-1]) for run in runs)


def shortened(names: set[str], most: int = 4) -> str:
    """The names, the first ``most`` in full."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeats", type=int, default=3)
    repeats = arguments.parse_args().repeats
    direct = sorted(set(requirements(ROOT)))
    everything = reached(direct)
    sizes = {name: megabytes(name) for name in everything}
    modules, lines_of = modules_of(), import_lines()
    print(f"{'library':24} {'own':>7} {'brings':>7} {'alone':>7} {'import':>8}  imported by")
    rows = []
    for name, extras in direct:
        alone = everything - reached([each for each in direct if each != (name, extras)])
        own = modules.get(name, set())
        lines = {line for module in own for line in lines_of.get(module, ())}
        named = sorted({line for _, line in lines}) or [
            f"import {each}" for each in own if canonicalize_name(each) == name
        ]
        brings = sum(sizes[each] for each in reached([(name, extras)]))
        users = {user for user, _ in lines}
        rows.append((sum(sizes[each] for each in alone), brings, name, seconds(named, repeats), users))
    for alone, brings, name, time, users in sorted(rows, reverse=True):
        print(f"{name:24} {sizes[name]:7.1f} {brings:7.1f} {alone:7.1f} {time:6.2f} s  {shortened(users) or '-'}")
    print(f"{len(direct)} libraries asked for, {len(everything)} installed, {sum(sizes.values()):.0f} MB")


if __name__ == "__main__":
    main()
