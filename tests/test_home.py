import subprocess
import sys
from pathlib import Path

#: What Python finds of a user without HOME and without an entry in passwd.
NOBODY = "import pwd, os; os.environ.pop('HOME', None); pwd.getpwuid = lambda _: {}[0]; "


def run(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", NOBODY + code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_case_13_who_has_no_home_is_given_one_until_the_end_and_told_so(tmp_path):
    done = run(
        "os.environ.pop('FER_CACHE', None); os.environ.pop('XDG_CACHE_HOME', None)\n"
        "from fer_cli.cli.app import app; app(['weights', 'list'], standalone_mode=False)\n"
        "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)\n"
        "from fer_cli.models.weights import cache_folder; print(cache_folder())",
        tmp_path,
    )
    assert "This user has no home folder" in done.stderr
    assert not list(tmp_path.iterdir())
    hub, own = map(Path, done.stdout.splitlines()[-2:])
    home = next(folder for folder in hub.parents if folder.name.startswith("fer-home-"))
    assert own.is_relative_to(home)
    assert not home.exists()


def test_case_13_libraries_start_without_a_home(tmp_path):
    run("import fer_cli, getpass, torch, matplotlib; getpass.getuser(); matplotlib.get_cachedir()", tmp_path)
    assert not list(tmp_path.iterdir())


def test_who_has_a_home_keeps_it(monkeypatch, tmp_path):
    from fer_cli import files as home

    monkeypatch.setenv("HOME", str(tmp_path))
    home.provide_home()
    assert home.temporary_home is None
    assert not list(tmp_path.iterdir())
