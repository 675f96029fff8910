"""What the program does before anything heavy is loaded: how threads wait for one another."""

import os
import subprocess
import sys

import pytest

import fer_cli.__main__ as program
from fer_cli.__main__ import others_run, wait_passively

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


@pytest.mark.parametrize(("busy", "policy"), [(True, "PASSIVE"), (False, "None")])
def test_the_program_says_so_before_torch_is_loaded_where_other_programs_run(busy, policy):
    shown = python(
        "import os, sys\n"
        "import fer_cli.cli.app as app, fer_cli.__main__ as program\n"
        "app.run = lambda: print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)\n"
        f"program.others_run = lambda: {busy}\n"
        "program.main()"
    )
    assert shown == f"{policy} False\n"


@pytest.mark.parametrize(
    ("load", "busy"),
    [
        ("0.00 0.00 0.00 1/79 18550", False),
        ("0.00 0.00 0.00 2/79 18550", False),
        ("0.00 0.00 0.00 3/79 18550", True),
        ("no numbers", False),
    ],
)
def test_other_programs_are_counted_against_the_processors(load, busy, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(program, "LOAD", tmp_path / "loadavg")
    assert not others_run()
    program.LOAD.write_text(load)
    assert others_run() == busy


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


def test_ctrl_c_while_the_program_is_loaded_is_no_traceback(monkeypatch, capsys):
    class Interrupted:
        def find_spec(self, name, path=None, target=None):
            if name == "fer_cli.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "fer_cli.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nStopped.\n"
