"""What a preparation finds in its folder, which a person or a killed process may have written to."""

import json
import os

import pytest

from fer_cli.dataset.prepare import Journal, begin
from fer_cli.errors import DatasetError

DEEP = "[" * 100_000
GOOD = {"file_name": "images/S/a.png", "sha256": "0", "faces_found": 1, "source": "a.jpg"}


@pytest.fixture
def out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"images/S/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"images/S/{name}.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        *("", "\0", "{", "[]", "1", "null", DEEP, '{"file_name": ' + DEEP),
        *(
            json.dumps({**GOOD, "file_name": name})
            for name in (1, None, [], "../x.png", "/etc/passwd", "images/gone.png")
        ),
        *(json.dumps({**GOOD, "file_name": f"images/{name}"}) for name in ("a" * 5000, "\0", "S", "..")),
        *(json.dumps({**GOOD, "file_name": "images/S/b.png", field: None}) for field in ("sha256", "faces_found")),
        json.dumps({**GOOD, "file_name": "images/S/b.png", "faces_found": "1"}),
        json.dumps({"file_name": "images/S/b.png"}),
    ],
)
def test_a_line_of_the_journal_that_no_preparation_wrote_is_as_if_not_there(out, line):
    (out / "faces.jsonl").write_text(f"{line}\n{json.dumps(GOOD)}\n{line}")
    journal = Journal(out)
    assert journal.entries == {"images/S/a.png": {"sha256": "0", "faces_found": 1, "source": "a.jpg"}}
    assert journal.digest({"images/S/a.png"})


def test_bytes_that_are_no_text_spoil_their_own_line_only(out):
    (out / "faces.jsonl").write_bytes(b'{"file_name": "\xff"}\n' + json.dumps(GOOD).encode())
    assert Journal(out).holds("images/S/a.png")


def test_a_journal_that_is_a_pipe_is_said_and_not_waited_for(out):
    os.mkfifo(out / "faces.jsonl")
    with pytest.raises(DatasetError, match="not a regular file"):
        Journal(out)


@pytest.mark.parametrize("name", ["unfinished.json", "dataset.json"])
@pytest.mark.parametrize("text", ["", "\0", "1", "[]", "null", DEEP, '{"settings": []}'])
def test_settings_that_no_preparation_wrote_are_other_settings(out, name, text):
    (out / name).write_text(text)
    with pytest.raises(DatasetError, match=r"no prepared dataset|other settings"):
        begin(out, {"size": 32}, overwrite=False)
