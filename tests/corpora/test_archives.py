import stat
import zipfile
from pathlib import Path

import pytest

from fer_cli.corpora import archives
from fer_cli.corpora.archives import inside, open_all, opened
from fer_cli.corpora.jaffe import Jaffe
from fer_cli.dataset.check import check
from fer_cli.errors import CorpusError
from fer_cli.progress import silent

NAMES = ("jaffe/KA.AN1.39.tiff", "jaffe/KA.NE1.26.tiff")


def zipped(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names or NAMES:
            file.writestr(name, b"content")
    return path


def test_a_zip_is_unpacked_beside_itself_once(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    folder = opened(path, silent)
    assert folder == tmp_path / "fer-unpacked" / "jaffe"
    assert len(Jaffe().read(Jaffe().locate(folder)).records) == 2
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert opened(path, silent) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_a_folder_of_zips_is_the_corpus_once_they_are_unpacked(tmp_path):
    zipped(tmp_path / "one.zip", NAMES[0])
    zipped(tmp_path / "two.zip", NAMES[1])
    Jaffe().make(tmp_path)
    assert len(Jaffe().read(Jaffe().locate(tmp_path)).records) == 2


def test_zips_beside_an_unpacked_corpus_are_left_alone(tmp_path):
    (tmp_path / "KA.AN1.39.tiff").touch()
    zipped(tmp_path / "thesis.zip")
    Jaffe().make(tmp_path)
    assert not (tmp_path / "fer-unpacked").exists()


@pytest.mark.parametrize(
    "name", ["../x.png", "/x.png", "a/../../x.png", "C:/x.png", "..\\x.png", ".hidden", "__MACOSX/x.png", ""]
)
def test_what_would_leave_the_folder_or_is_litter_has_no_place(name):
    assert inside(name) is None


def test_members_that_would_leave_the_folder_and_links_are_not_written(tmp_path):
    path = zipped(tmp_path / "deep" / "evil.zip", "../evil.png", "/evil.png", "good.png")
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    folder = opened(path, silent)
    assert [file.name for file in tmp_path.rglob("*.png")] == ["good.png"]
    assert folder in next(tmp_path.rglob("good.png")).parents


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    path = zipped(tmp_path / "bomb.zip")
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    with pytest.raises(CorpusError, match="more than a corpus"):
        opened(path, silent)
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 3)
    with pytest.raises(CorpusError, match="larger than"):
        opened(path, silent)
    assert list((tmp_path / "fer-unpacked").iterdir()) == []


def test_a_broken_zip_is_said(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    data = bytearray(path.read_bytes())
    data[35:45] = b"\xff" * 10
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        open_all(tmp_path, silent)


def test_a_check_unpacks_nothing_and_says_so(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    for root in (path, tmp_path):
        with pytest.raises(CorpusError) as caught:
            check(Jaffe(), root)
        assert "without --check" in caught.value.mend
    assert not (tmp_path / "fer-unpacked").exists()
