"""Files are read within limits and written whole; one process at a time writes into a folder."""

import errno
import os
import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TypedDict

import pytest

from fer_cli.documents import read_document
from fer_cli.errors import DiskFullError, FerError, RunError
from fer_cli.files import (
    as_text,
    is_lfs_pointer,
    locked,
    open_regular,
    read_bytes,
    read_json,
    remove_abandoned,
    write_json,
    written_whole,
)


def test_a_pipe_a_device_and_a_folder_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_no_more_bytes_are_read_than_the_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than") as caught:
        read_bytes(tmp_path / "file", 4)
    assert caught.value.errno == errno.EFBIG


def test_json_nested_too_deep_is_a_value_error(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deep"):
        read_json(tmp_path / "deep.json")


def test_a_document_is_checked_and_kept_as_it_was(tmp_path):
    class Card(TypedDict):
        fold: int

    (tmp_path / "card.json").write_text('{"fold": 1, "more": [2]}')
    assert read_document(tmp_path / "card.json", Card, RunError) == {"fold": 1, "more": [2]}
    (tmp_path / "card.json").write_text('{"fold": "one"}')
    with pytest.raises(RunError, match=r"Expected `int`, got `str`.*fold"):
        read_document(tmp_path / "card.json", Card, RunError)


def test_an_lfs_pointer_is_told_from_a_file(tmp_path):
    (tmp_path / "a").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (tmp_path / "b").write_text("version 1")
    assert is_lfs_pointer(tmp_path / "a")
    assert not is_lfs_pointer(tmp_path / "b")
    assert not is_lfs_pointer(tmp_path / "none")


def _fill_the_disk(path: Path) -> None:
    with written_whole(path) as beside:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    with pytest.raises(DiskFullError, match="No space") as caught:
        _fill_the_disk(tmp_path / "out.txt")
    assert str(tmp_path) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def _cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
        # As safetensors, pyarrow and torch say it.
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        RuntimeError("basic_ios::clear: iostream error"),
        _cause(RunError("runs/a cannot be written."), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
    ids=repr,
)
def test_a_full_disk_is_one_error_whichever_library_meets_it(tmp_path, error):
    with pytest.raises(DiskFullError) as caught, locked(tmp_path, "writing into"):
        raise error
    assert str(tmp_path) in caught.value.message
    assert "same line again" in caught.value.mend
    # As it comes out of a process of a pool.
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (copy.message, copy.mend) == (caught.value.message, caught.value.mend)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, os.strerror(errno.EACCES)),
        RuntimeError("shapes differ"),
        # What reading says of a file that is larger than it may be.
        OSError(errno.EFBIG, "larger than 200 MB"),
    ],
    ids=repr,
)
def test_other_errors_are_left_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, locked(tmp_path, "writing into"):
        raise error
    assert caught.value is error


def test_a_name_that_is_no_utf_8_is_written_and_read_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "a.json", {"name": name, "other": "caf\u00e9"})
    (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert read_json(tmp_path / "a.json") == {"name": name, "other": "caf\u00e9"}
    assert as_text(name) == "caf\\xe9"
    assert as_text("caf\u00e9 \ud800") == "caf\u00e9 \\ud800"


def test_a_name_as_long_as_a_disk_takes_is_written_whole(tmp_path):
    path = tmp_path / ("x" * 255)
    write_json(path, 1)
    assert read_json(path) == 1


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    code = (
        "import os, pathlib\nfrom fer_cli.files import written_whole\n"
        f"with written_whole(pathlib.Path({str(tmp_path / 'a.txt')!r})) as beside:\n"
        "    beside.write_text('x')\n    os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with written_whole(tmp_path / "b.txt") as beside:
        beside.write_text("y")
        remove_abandoned(tmp_path)
        assert list(tmp_path.iterdir()) == [beside]


def test_a_second_process_is_told_what_the_first_does(tmp_path):
    code = (
        "import pathlib, sys\nfrom fer_cli.errors import FerError\nfrom fer_cli.files import locked\n"
        f"try:\n with locked(pathlib.Path({str(tmp_path)!r}), 'training into'): pass\n"
        "except FerError as error: print(error.message)"
    )

    def second() -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    with locked(Path(tmp_path), "training into"):
        assert second() == f"Another process is training into {tmp_path}."
    assert second() == ""


def test_one_that_waits_comes_in_when_the_other_has_gone(tmp_path):
    order = []

    def second() -> None:
        with locked(tmp_path, "writing into", wait=True):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path, "writing into"):
        thread.start()
        with pytest.raises(FerError, match="Another process is writing into"), locked(tmp_path, "writing into"):
            pass
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_of_the_processes_of_torchrun_the_first_alone_holds_the_folder(tmp_path, monkeypatch):
    with locked(tmp_path, "training into"):
        monkeypatch.setenv("RANK", "1")
        with locked(tmp_path, "training into"):
            pass


def test_holding_a_folder_sweeps_what_killed_processes_left_in_it(tmp_path):
    code = (
        "import os, pathlib\nfrom fer_cli.files import written_whole\n"
        f"with written_whole(pathlib.Path({str(tmp_path / 'a.txt')!r})) as beside:\n"
        "    beside.write_text('x')\n    os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (tmp_path / "mine.part").touch()
    assert len(list(tmp_path.iterdir())) == 2
    with locked(tmp_path / "out.csv", "writing into"):
        assert [path.name for path in tmp_path.iterdir()] == ["mine.part"]


def test_case_17_a_file_has_the_umasks_mode_whatever_its_writer_asked_for(tmp_path):
    before = os.umask(0o022)
    try:
        with written_whole(tmp_path / "w.safetensors") as beside:
            beside.unlink()
            os.close(os.open(beside, os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o644
