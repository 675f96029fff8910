import pytest
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.prediction.sources import pictures


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    for name in ("b.jpg", "a.png", "deep/er/c.webp", ".hidden/d.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(folder / name)
    Image.new("L", (8, 8)).save(folder / "subject01.happy", format="GIF")
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def test_a_folder_gives_its_pictures_at_every_depth_by_name(folder):
    names = [path.relative_to(folder).as_posix() for path in pictures([folder])]
    # A file that is named as a picture and is none is for the person to hear of; others are passed over.
    assert names == ["a.png", "b.jpg", "broken.jpg", "subject01.happy", "deep/er/c.webp"]


def test_a_file_is_taken_as_it_is_named(folder):
    assert list(pictures([folder / "notes.txt", folder / "a.png"])) == [folder / "notes.txt", folder / "a.png"]


def test_a_source_that_is_not_there_or_holds_nothing_is_said(tmp_path):
    with pytest.raises(PictureError, match="no file or folder"):
        list(pictures([tmp_path / "nowhere"]))
    with pytest.raises(PictureError, match="no picture in the folder"):
        list(pictures([tmp_path]))
