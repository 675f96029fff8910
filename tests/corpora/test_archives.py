import gzip
import io
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fer_cli.corpora import io as archives
from fer_cli.corpora.affectnet import AffectNet
from fer_cli.corpora.io import inside, unpack_all, unpack_root
from fer_cli.corpora.jaffe import Jaffe
from fer_cli.dataset.prepare import check
from fer_cli.errors import CorpusError
from fer_cli.files import LFS_POINTER, locked
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
    folder = unpack_root(path, silent)
    assert folder == tmp_path / "fer-unpacked" / "jaffe"
    assert len(Jaffe().read(Jaffe().locate(folder)).records) == 2
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert unpack_root(path, silent) == folder
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
    folder = unpack_root(path, silent)
    assert [file.name for file in tmp_path.rglob("*.png")] == ["good.png"]
    assert folder in next(tmp_path.rglob("good.png")).parents


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    path = zipped(tmp_path / "bomb.zip")
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    with pytest.raises(CorpusError, match="more than a corpus"):
        unpack_root(path, silent)
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 3)
    with pytest.raises(CorpusError, match="more than a corpus"):
        unpack_root(path, silent)
    assert list((tmp_path / "fer-unpacked").iterdir()) == []


def test_a_broken_zip_is_said(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    data = bytearray(path.read_bytes())
    data[35:45] = b"\xff" * 10
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack_all(tmp_path, silent)


def test_a_check_unpacks_nothing_and_says_so(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    for root in (path, tmp_path):
        with pytest.raises(CorpusError) as caught:
            check(Jaffe(), root)
        assert "without --check" in caught.value.hint
    assert not (tmp_path / "fer-unpacked").exists()


def tarred(path: Path, *members: str | tarfile.TarInfo, mode: str = "w:") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:
        for member in members or NAMES:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = 7
            file.addfile(info, io.BytesIO(b"content"))
    return path


def special(name: str, kind: bytes, linked: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linked
    return info


@pytest.mark.parametrize(
    ("ending", "mode"), [("tar", ""), ("TGZ", "gz"), ("tar.gz", "gz"), ("tar.bz2", "bz2"), ("tar.xz", "xz")]
)
def test_case_32_tars_are_unpacked_as_zips_are(tmp_path, ending, mode):
    folder = unpack_root(tarred(tmp_path / f"jaffe.{ending}", mode=f"w:{mode}"), silent)
    assert folder == tmp_path / "fer-unpacked" / "jaffe"
    assert len(Jaffe().read(Jaffe().locate(folder)).records) == 2


def test_only_files_that_stay_in_the_folder_come_out_of_a_tar(tmp_path):
    members = ("../evil.png", "/evil.png", "C:/evil.png", "good.png")
    links = [
        special("link.png", tarfile.SYMTYPE),
        special("hard.png", tarfile.LNKTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ]
    links += [special("folder", tarfile.SYMTYPE, ".."), tarfile.TarInfo("folder/through.png")]
    folder = unpack_root(tarred(tmp_path / "deep" / "evil.tar", *members, *links), silent)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    inside = folder.relative_to(tmp_path).as_posix()
    assert found == {"deep/evil.tar", f"{inside}/good.png", f"{inside}/folder/through.png"}


def affectnet_set(folder: Path, name: str, codes: list[int]) -> Path:
    for number, code in enumerate(codes):
        (folder / name / "images").mkdir(parents=True, exist_ok=True)
        (folder / name / "annotations").mkdir(exist_ok=True)
        (folder / name / f"images/{number}.jpg").touch()
        np.save(folder / name / f"annotations/{number}_exp.npy", np.array(code))
    return folder / name


def test_case_32_affectnets_tars_are_one_corpus_with_both_its_sets(tmp_path):
    for name, codes in (("train_set", [1, 3]), ("val_set", [6])):
        made = affectnet_set(tmp_path / "made", name, codes)
        (tmp_path / "AffectNet").mkdir(exist_ok=True)
        with tarfile.open(tmp_path / f"AffectNet/{name}.tar", "w") as file:
            file.add(made, name)
    corpus, root = AffectNet(), tmp_path / "AffectNet"
    corpus.make(root)
    reading = corpus.read(corpus.locate(root))
    assert [(still.label, still.split) for still in reading.records] == [
        ("happiness", "train"),
        ("surprise", "train"),
        ("anger", "val"),
    ]
    assert reading.skipped == []


def test_a_second_copy_of_a_set_is_counted_once_and_told(tmp_path):
    for folder in ("a", "b"):
        affectnet_set(tmp_path / folder, "train_set", [1, 3])
    reading = AffectNet().read(AffectNet().locate(tmp_path))
    assert len(reading.records) == 2
    assert [(entry.reason, entry.fault) for entry in reading.skipped] == [
        ("another copy of a set (counted once)", False)
    ]


def test_archives_that_are_not_opened_here_are_named(tmp_path):
    (tmp_path / "AffectNet.part1.rar").touch()
    with pytest.raises(CorpusError) as caught:
        AffectNet().locate(tmp_path)
    assert caught.value.hint.startswith("Unpack AffectNet.part1.rar by hand")


def locked_with_a_password(path: Path) -> Path:
    """A zip whose members say that they are encrypted: bit 0 of their flags, in both of their headers."""
    data = bytearray(zipped(path).read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(signature)
        while place >= 0:
            data[place + flags] |= 1
            place = data.find(signature, place + 1)
    path.write_bytes(bytes(data))
    return path


def test_case_32_a_zip_with_a_password_is_told_from_a_broken_one(tmp_path):
    locked_with_a_password(tmp_path / "jaffe.zip")
    with pytest.raises(CorpusError, match="locked with a password") as caught:
        Jaffe().make(tmp_path)
    assert "password" in caught.value.hint
    assert "ZipInfo" not in caught.value.message
    assert list((tmp_path / "fer-unpacked").iterdir()) == []


def not_utf8(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("é.png", b"content")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: min(700, path.stat().st_size // 2)])


@pytest.mark.parametrize("name", ["jaffe.zip", "jaffe.tar", "jaffe.tar.gz", "jaffe.tar.xz", "jaffe.tar.bz2"])
@pytest.mark.parametrize("how", ["cut short", "empty", "text"])
@pytest.mark.parametrize("given", ["archive", "folder"])
def test_a_damaged_archive_is_called_so(tmp_path, name, how, given):
    path = tmp_path / name
    if name.endswith(".zip"):
        zipped(path)
    else:
        tarred(path, mode=f"w:{name.partition('.tar')[2].strip('.')}")
    if how == "cut short":
        cut_short(path)
    else:
        path.write_bytes(b"" if how == "empty" else b"no archive at all" * 100)
    with pytest.raises(CorpusError, match="cannot be unpacked") as caught:
        unpack_root(path, silent) if given == "archive" else Jaffe().make(tmp_path)
    assert "Download it again" in caught.value.hint
    assert list((tmp_path / "fer-unpacked").iterdir()) == []


def test_a_tar_with_a_damaged_header_in_its_middle_is_not_taken_for_whole(tmp_path):
    path = tarred(tmp_path / "jaffe.tar")
    data = bytearray(path.read_bytes())
    second = data.index(NAMES[1].encode())
    data[second : second + 8] = b"damaged!"
    path.write_bytes(bytes(data))
    with pytest.raises(CorpusError, match="breaks off"):
        unpack_root(path, silent)


def test_names_that_claim_to_be_utf8_and_are_not_are_told(tmp_path):
    not_utf8(tmp_path / "jaffe.zip")
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack_root(tmp_path / "jaffe.zip", silent)


def test_names_of_other_encodings_are_unpacked(tmp_path):
    name = "caf\udce9.png"  # as Python reads the byte E9, which is no UTF-8
    [path] = unpack_root(tarred(tmp_path / "a.tar", name), silent).iterdir()
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("name", ["jaffe.zip", "jaffe.tar.gz"])
def test_a_git_lfs_pointer_in_the_place_of_an_archive_is_named(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n")
    with pytest.raises(CorpusError, match="git lfs pull") as caught:
        Jaffe().make(tmp_path)
    assert LFS_POINTER in caught.value.message


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_what_grows_more_than_pictures_do_is_refused_after_few_bytes(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "GROWTH_FROM", 100_000)
    path, content = tmp_path / name, bytes(5_000_000)
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("zeros.bmp", content)
    else:
        with tarfile.open(path, "w:gz") as file:
            info = tarfile.TarInfo("zeros.bmp")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    with pytest.raises(CorpusError, match="more than a corpus"):
        unpack_root(path, silent)
    assert list((tmp_path / "fer-unpacked").iterdir()) == []


def test_a_zip_that_claims_less_than_it_holds_gives_no_more_than_it_claims(tmp_path):
    path = zipped(tmp_path / "jaffe.zip", NAMES[0])
    size = len(b"content").to_bytes(4, "little")
    assert path.read_bytes().count(size) >= 2
    path.write_bytes(path.read_bytes().replace(size, (3).to_bytes(4, "little")))
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        unpack_root(path, silent)


def test_a_tars_header_of_any_size_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_HEADER", 100_000)
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1_000_000
    path = tmp_path / "jaffe.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf() + bytes(1_000_000))
    with pytest.raises(CorpusError, match="a header that is too large"):
        unpack_root(path, silent)


def test_what_a_killed_process_left_is_no_corpus_and_is_unpacked_anew(tmp_path):
    zipped(tmp_path / "jaffe.zip")
    left = tmp_path / "fer-unpacked/.jaffe.part/jaffe"
    left.mkdir(parents=True)
    (left / "KA.AN1.39.tiff").touch()
    with pytest.raises(CorpusError):
        Jaffe().locate(tmp_path)
    Jaffe().make(tmp_path)
    assert len(Jaffe().read(Jaffe().locate(tmp_path)).records) == 2
    assert not left.exists()


def test_of_several_archives_those_are_unpacked_that_a_killed_process_did_not_reach(tmp_path):
    zipped(tmp_path / "one.zip", NAMES[0])
    zipped(tmp_path / "two.zip", NAMES[1])
    unpack_root(tmp_path / "one.zip", silent)
    Jaffe().make(tmp_path)
    assert len(Jaffe().read(Jaffe().locate(tmp_path)).records) == 2


def test_another_process_that_unpacks_the_same_archive_is_waited_for(tmp_path):
    path = zipped(tmp_path / "jaffe.zip")
    target = tmp_path / "fer-unpacked" / "jaffe"
    other = threading.Thread(target=unpack_root, args=(path, silent))
    with locked(target, "unpacking into"):
        other.start()
        other.join(timeout=0.5)
        assert other.is_alive()
        assert not target.exists()
        # As if the process that holds the lock had just finished.
        (target / "jaffe").mkdir(parents=True)
    other.join(timeout=60)
    assert not other.is_alive()
    assert [child.name for child in target.rglob("*")] == ["jaffe"]


def test_an_archive_of_more_files_than_a_corpus_has_is_not_unpacked_even_where_they_are_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as file:
        for number in range(4):
            file.addfile(tarfile.TarInfo(f"{number}.jpg"))
    with pytest.raises(CorpusError, match="holds more than a corpus does"):
        unpack_root(path, silent)
