"""Rows a second of ``--engine ray`` and of the plain engine, and their rows after kill -9 and the loss of a machine.

python benchmarks/engines.py FOLDER [--run RUN] [--tar FILE] [--parquet FILE] [--detector none]

FOLDER holds the pictures; --tar and --parquet the same ones as other sources. Needs Ray Data (fer-cli[ray]).
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

#: Blocks that are stored before something is killed.
STORED = 5
#: Machines of the simulated cluster, and the processors of each.
MACHINES, PROCESSORS = 3, 1


def main() -> None:
    """Compare the engines on every source that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name in ("run", "tar", "parquet"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--detector", default="none")
    arguments = parser.parse_args()
    # Ray gives its actors the lowest priority but four: on a machine that does other things the plain engine would win.
    os.environ.update(RAY_worker_niceness="0", RAY_USAGE_STATS_ENABLED="0")
    common = ["--detector", arguments.detector]
    if arguments.run:
        common += ["--run", str(arguments.run.resolve())]
    sources = {"folder": arguments.folder, "tar": arguments.tar, "parquet": arguments.parquet}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name, source in sources.items():
            if source is not None:
                compare(name, [str(source.resolve()), *common], out)


def compare(name: str, words: list[str], out: Path) -> None:
    """Compare the engines on one source."""
    plain = out / f"{name}-plain.parquet"
    seconds = {"plain": timed(words, plain), "ray": timed([*words, "--engine", "ray"], out / f"{name}-ray.parquet")}
    rows = len(pd.read_parquet(plain))
    for engine, taken in seconds.items():
        print(f"{name:8} {engine:6} {rows} rows in {taken:.1f} s with the start: {rows / taken:.1f} rows/s", flush=True)
    same(name, "uninterrupted", plain, out / f"{name}-ray.parquet")

    killed = out / f"{name}-killed.parquet"
    process = subprocess.Popen(command([*words, "--engine", "ray"], killed), stderr=subprocess.DEVNULL)
    stored = wait_for_blocks(process, killed)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    timed([*words, "--engine", "ray", "--resume"], killed)
    same(name, f"kill -9 after {stored} blocks, then --resume", plain, killed)

    lost = out / f"{name}-lost.parquet"
    stored = lose_a_machine([*words, "--engine", "ray"], lost)
    same(name, f"one of {MACHINES} machines killed after {stored} blocks", plain, lost)


def lose_a_machine(words: list[str], out: Path) -> int:
    """Predict on a simulated cluster of which a machine is killed midway."""
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": PROCESSORS, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=machine)
    try:
        others = [cluster.add_node(**machine) for _ in range(MACHINES - 1)]
        begun = time.perf_counter()
        process = subprocess.Popen(command([*words, "--ray-address", cluster.address], out), stderr=subprocess.PIPE)
        stored = wait_for_blocks(process, out)
        cluster.remove_node(others[-1], allow_graceful=False)
        said = process.communicate()[1].decode()
        assert process.returncode in (0, 3), said
        print(f"{'':8} {MACHINES} machines, one killed: {time.perf_counter() - begun:.1f} s", flush=True)
        return stored
    finally:
        cluster.shutdown()


def wait_for_blocks(process: subprocess.Popen, out: Path) -> int:
    """Wait until some blocks are stored, and count them."""
    folder = out.with_name(f".{out.name}.unfinished")
    while process.poll() is None:
        stored = len(list(folder.glob("part-*-*.jsonl")))
        if stored >= STORED:
            return stored
        time.sleep(0.1)
    raise SystemExit(f"it ended (exit code {process.returncode}) before {STORED} blocks were stored: too few pictures")


def timed(words: list[str], out: Path) -> float:
    """The seconds that a prediction takes."""
    begun = time.perf_counter()
    done = subprocess.run(command(words, out), capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    unexpected = [
        line for line in (done.stdout + done.stderr).splitlines() if re.search(r"\(raylet\)|WARN|\.cc:", line)
    ]
    assert not unexpected, unexpected
    return time.perf_counter() - begun


def command(words: list[str], out: Path) -> list[str]:
    """The command line of a prediction into ``out``."""
    return [sys.executable, "-m", "fer_cli", "predict", *words, "--out", str(out)]


def same(source: str, what: str, expected: Path, found: Path) -> None:
    """Print whether two tables have the same rows in the same order, and none twice."""
    one, other = pd.read_parquet(expected), pd.read_parquet(found)
    doubled = int(other.duplicated(["file", "frame", "face"]).sum())
    result = "the same rows, to the bit" if one.equals(other) else "DIFFERENT ROWS"
    print(f"{source:8} {what}: {result}; {len(other)} of {len(one)}, {doubled} doubled", flush=True)
    if not one.equals(other) or doubled:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
