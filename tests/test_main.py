"""What the program does before anything heavy is loaded: how threads wait for one another."""

import os
import subprocess
import sys

import pytest

from fer_cli.__main__ import wait_passively

WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def python(code: str, **environment: str) -> str:
    """What ``code`` prints in a new process, whose environment says nothing of waiting but what is given."""
    inherited = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unset(monkeypatch):
    for name in WAITING:
        # Set first, so that what the test itself sets is taken away again.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_threads_that_wait_sleep(unset):
    wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("name", WAITING)
def test_whoever_has_said_how_threads_wait_is_obeyed(unset, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    wait_passively()
    assert {each: os.environ.get(each) for each in WAITING} == {**dict.fromkeys(WAITING), name: "1"}


def test_the_program_says_so_before_torch_is_loaded():
    shown = python(
        "import os, sys\n"
        "import fer_cli.cli.app as app\n"
        "app.run = lambda: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)\n"
        "from fer_cli.__main__ import main\n"
        "main()"
    )
    assert shown == "PASSIVE False\n"


def test_a_program_that_imports_the_package_keeps_its_environment():
    shown = python("import os, fer_cli; from fer_cli import Predictor; print(os.environ.get('OMP_WAIT_POLICY'))")
    assert shown == "None\n"


@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
def test_torchs_threads_are_told():
    code = "from fer_cli.__main__ import wait_passively; wait_passively(); import torch"
    shown = [line.split() for line in python(code, OMP_DISPLAY_ENV="VERBOSE").splitlines() if "GOMP_SPINCOUNT" in line]
    # More than one library may answer; none spins.
    assert shown
    assert {words[-1] for words in shown} == {"'0'"}
