"""Processes of a pool start clean, and do not outlive the one that made them."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILLED = """
import os, signal, sys
from pathlib import Path
from fer_cli.corpora.synthetic import draw_corpus

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

draw_corpus(Path(sys.argv[1]), 4, 4, 0, 0.0, kill)
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    (folder / "script.py").write_text(code)
    # The processes share the pipe of its output: reading to the end of that waits for the last of them.
    return subprocess.run(
        [sys.executable, folder / "script.py", folder / "out"], capture_output=True, text=True, timeout=120, check=False
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
