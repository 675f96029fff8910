"""Entry point of ``python -m fer_cli`` and the console script ``fer``."""

import os
import sys
from pathlib import Path

#: Linux's count of what runs, https://man7.org/linux/man-pages/man5/proc_loadavg.5.html.
LOAD = Path("/proc/loadavg")
#: The variables for how OpenMP's threads wait: the standard's, GNU's (torch for Linux) and LLVM's (elsewhere).
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main() -> None:
    """Run the program."""
    if others_run():
        wait_passively()
    try:
        from fer_cli.cli.app import run
    except KeyboardInterrupt:
        # Before the program knows its commands nothing has begun; the exit code is that of all that Ctrl-C stops.
        sys.stderr.write("\nStopped.\n")
        raise SystemExit(130) from None
    run()


def others_run() -> bool:
    """Whether other processes are using a quarter of the processors or more right now, as far as the system says."""
    try:
        running = int(LOAD.read_text(encoding="ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return False
    # This process is one of them.
    return running - 1 >= (os.cpu_count() or 1) / 4


def wait_passively() -> None:
    """Threads that wait for one another sleep, unless the environment already says how they wait.

    By default they spin, which keeps the very thread that they wait for off the processor where another program uses
    it too: training is then several times slower. On a machine of one's own sleeping costs half the speed of a small
    network, so it is chosen by what else runs (``benchmarks/busy.py`` measures both). OpenMP reads this once, when
    torch is loaded; processes started later inherit it. A program that imports the package decides for itself: its
    environment is not changed.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


if __name__ == "__main__":
    main()
