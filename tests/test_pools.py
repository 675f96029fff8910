"""Processes of a pool start clean, and do not outlive the one that made them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fer_cli.pools import Message, Workers

ROOT = Path(__file__).resolve().parents[1]
KILLED = """
import os, signal, sys
from pathlib import Path
from fer_cli.corpora.synthetic import draw_corpus

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

draw_corpus(Path(sys.argv[1]), 4, 4, 0, 0.0, kill)
"""


def run(code: str, folder: Path, *words: str) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(code)
    # The processes share the pipe of its output: reading to the end of that waits for the last of them.
    return subprocess.run(
        [sys.executable, folder / "script.py", folder / "out", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_no_drawing_process_outlives_one_that_was_killed(tmp_path):
    done = run(KILLED, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(tmp_path.glob("out/cohn-kanade-images/*/*/*.png"))


UNGUARDED = """
import sys
from pathlib import Path
from fer_cli.corpora.synthetic import Synthetic

print("once")
Synthetic(subjects=2, frames=4).make(Path(sys.argv[1]))
"""


def test_case_18_a_script_without_a_main_guard_works(tmp_path):
    done = run(UNGUARDED, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert (tmp_path / "out" / "synthetic.json").is_file()


def blocks(report) -> None:
    """Work that says it has begun, and does not end."""
    report(os.getpid())
    threading.Event().wait()


WORKERS = """
import os, signal, sys
from fer_cli.pools import Workers
from tests.test_pools import blocks

# Where the tests are run in the background of a script, it would be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Workers([{}]) as workers:
    workers.submit(0, blocks)
    [message] = workers.wait()
    assert (message.worker, message.kind, message.value) != (0, "progress", os.getpid())
    print("begun", flush=True)
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    workers.wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_no_worker_outlives_a_process_that_is_killed_or_interrupted(tmp_path, name):
    done = run(WORKERS, tmp_path, name)
    # Else the worker would hold the pipe of its output for ever, and this would run out of time.
    assert done.stdout == "begun\n", done.stderr
    assert done.returncode == -getattr(signal, name)


def test_a_worker_has_its_environment_and_stops_when_told():
    with Workers([{"FER_MADE": "one"}, {"FER_MADE": "two"}]) as workers:
        assert workers.idle == [0, 1]
        workers.submit(0, variable, "FER_MADE")
        workers.submit(1, blocks)
        assert workers.idle == []
        found = {}
        while len(found) < 2:
            found |= {message.worker: message for message in workers.wait()}
        assert found[0] == Message(0, "result", "one")
        assert found[1].kind == "progress"
        workers.stop(1)
        assert workers.idle == [0, 1]
        assert workers.wait() == []
        workers.submit(1, variable, "FER_MADE")
        assert workers.wait() == [Message(1, "result", "two")]
    assert "FER_MADE" not in os.environ


def variable(name: str, report) -> str:
    return os.environ[name]
