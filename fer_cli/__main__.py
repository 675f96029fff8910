"""Entry point of ``python -m fer_cli`` and the console script ``fer``."""

import os

#: The variables for how OpenMP's threads wait: the standard's, GNU's (torch for Linux) and LLVM's (elsewhere).
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main() -> None:
    """Run the program."""
    wait_passively()
    from fer_cli.cli.app import run

    run()


def wait_passively() -> None:
    """Threads that wait for one another sleep, unless the environment already says how they wait.

    By default they spin, which keeps the very thread that they wait for off the processor where another program uses
    it too: training is then many times slower (``benchmarks/busy.py``). OpenMP reads this once, when torch is loaded;
    processes started later inherit it. A program that imports the package decides for itself: its environment is not
    changed.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


if __name__ == "__main__":
    main()
