"""Whatever is wrong with an input is a row among the errors, and the rest is done."""

import csv
import os
import re
import struct
import sys
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from fer_cli.errors import FerError, UsageError
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.run import check, run
from tests.prediction.made import made_pictures
from tests.videos import make_video, shades


def done(folder: Path, classifier, *sources, **settings) -> tuple[dict[str, int], dict[str, list[str]]]:
    """How many rows each file has, and what the errors say of each."""
    out = folder / "out" / "p.csv"
    names = list(map(str, sources))
    run(names, check(names, PredictOptions(out=out, **settings)), classifier)
    with out.open(newline="") as file:
        rows = [row["file"] for row in csv.DictReader(file)]
    errors: dict[str, list[str]] = {}
    if (folder / "out" / "p.errors.csv").exists():
        with (folder / "out" / "p.errors.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                errors.setdefault(row["file"], []).append(f"{row['kind']}: {row['reason']}")
    return {name: rows.count(name) for name in dict.fromkeys(rows)}, errors


def broken(folder: Path, name: str) -> Path:
    """The bad input called ``name``."""
    path = folder / "bad" / name
    path.parent.mkdir()
    whole = Image.effect_noise((200, 200), 90)
    grey = np.linspace(0, 65535, 60 * 60).reshape(60, 60)
    match name:
        case "empty.jpg" | "empty.mp4":
            path.touch()
        case "short.jpg":
            whole.save(path)
            path.write_bytes(path.read_bytes()[:2000])
        case "letter.jpg":
            path.write_text("dear picture")
        case "huge.png":
            path.write_bytes(png_header(20_000, 20_000))
        case "moving.gif":
            whole.save(path, save_all=True, append_images=[whole.rotate(90)])
        case "deep.tif":
            Image.fromarray(grey.astype(np.uint16)).save(path)
        case "float.tif":
            Image.fromarray(grey.astype(np.float32)).save(path)
        case "print.jpg":
            whole.convert("CMYK").save(path)
        case "circle.jpg":
            path.symlink_to(path)
        case "no-frames.mp4":
            with av.open(str(path), "w") as container:
                container.add_stream("mpeg4", rate=25).width = 64
                container.streams[0].height, container.streams[0].pix_fmt = 48, "yuv420p"
        case "sound.mp4":
            with av.open(str(path), "w") as container:
                stream = container.add_stream("aac", rate=8000)
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate = 8000
                container.mux(stream.encode(frame))
                container.mux(stream.encode())
        case "letter.mp4":
            path.write_text("dear video")
        case "pipe.jpg" | "pipe.mp4" | "pipe":
            os.mkfifo(path)
        case "zero.jpg" | "zero.mp4":
            path.symlink_to("/dev/zero")
        case "pointer.jpg" | "pointer.mp4":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n")
        case "phone.HEIC":
            path.write_bytes(bytes.fromhex("000000186674797068656963000000006865696d6d696631") + bytes(1000))
        case "raw.CR2" | "new.jxl":
            path.write_bytes(bytes(1000))
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has one row of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(width + 1)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.jpg", "empty file"),
        ("short.jpg", "broken or cut short"),
        ("letter.jpg", "not a picture"),
        ("huge.png", "larger than 100 million pixels"),
        ("float.tif", "neither of 8 nor of 16 bits"),
        pytest.param("circle.jpg", "in a circle", marks=pytest.mark.skipif(os.name != "posix", reason="no links")),
        ("vanished.jpg", "no such file"),
        ("empty.mp4", "a video that cannot be read"),
        ("letter.mp4", "a video that cannot be read"),
        ("sound.mp4", "a video that cannot be read"),
        ("no-frames.mp4", "a video"),
        *(
            pytest.param(
                name,
                "a pipe, a socket or a device",
                marks=pytest.mark.skipif(os.name != "posix", reason="no pipes in folders"),
                id=f"case 25: {name}",
            )
            for name in ("pipe.jpg", "pipe.mp4", "pipe", "zero.jpg", "zero.mp4")
        ),
        ("pointer.jpg", "git lfs pull"),
        ("pointer.mp4", "git lfs pull"),
        ("phone.HEIC", "broken or cut short"),
        ("raw.CR2", "a camera's raw file"),
        ("new.jxl", "JPEG XL"),
    ],
)
def test_what_cannot_be_used_is_a_fault_and_the_rest_is_done(alone, faces, tmp_path, name, reason):
    bad = broken(tmp_path, name)
    (tmp_path / "list.txt").write_text(f"{faces[0]}\n{bad}\n{faces[1]}\n")
    rows, errors = done(tmp_path, alone, tmp_path / "list.txt")
    assert rows == {str(faces[0]): 1, str(faces[1]): 1}
    ((path, (said,)),) = errors.items()
    assert path == str(bad)
    assert said.startswith("fault: ")
    assert reason in said


def test_case_05_pictures_of_every_format_in_a_folder_are_used_or_told(alone, faces, tmp_path):
    register_heif_opener()
    album = tmp_path / "album"
    album.mkdir()
    with Image.open(faces[0]) as picture:
        for name in ("a.JPG", "b.AVIF", "c.jp2", "d.HEIC", "e.jfif", "f.webp", "without_an_ending.x"):
            picture.convert("RGB").save(album / name, "AVIF" if name.endswith(".x") else None)
    for name in ("g.dng", "h.JXL", "notes.md"):
        (album / name).write_bytes(bytes(1000))
    rows, errors = done(tmp_path, alone, album)
    assert {Path(name).name for name in rows} == {
        *("a.JPG", "b.AVIF", "c.jp2", "d.HEIC", "e.jfif", "f.webp", "without_an_ending.x"),
    }
    assert {Path(name).name for name in errors} == {"g.dng", "h.JXL"}
    assert all(reason.startswith("fault: ") for reasons in errors.values() for reason in reasons)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are counted in letters")
def test_case_35_the_longest_names_are_done_in_every_sink(alone, faces, tmp_path):
    for folder in "ab":
        (tmp_path / "odd" / folder).mkdir(parents=True)
        (tmp_path / "odd" / folder / ("笑顔" * 41 + "笑.jpeg")).write_bytes(faces[0].read_bytes())
    sinks = {"crops": tmp_path / "crops", "sort_into": tmp_path / "sorted", "annotate": tmp_path / "annotated"}
    rows, errors = done(tmp_path, alone, tmp_path / "odd", **sinks)
    assert (len(rows), errors) == (2, {})
    assert [len([path for path in sink.rglob("*.*") if not path.is_dir()]) for sink in sinks.values()] == [2, 2, 2]


@pytest.mark.parametrize("name", ["deep.tif", "print.jpg"])
def test_what_is_only_rare_is_done_as_any_other(alone, tmp_path, name):
    bad = broken(tmp_path, name)
    assert done(tmp_path, alone, bad) == ({str(bad): 1}, {})


def test_of_an_animated_picture_the_first_frame_is_taken_and_that_is_said(alone, tmp_path):
    bad = broken(tmp_path, "moving.gif")
    rows, errors = done(tmp_path, alone, bad)
    assert rows == {str(bad): 1}
    assert errors == {str(bad): ["note: several frames: the first is taken"]}


def test_the_limit_of_pixels_can_be_set(alone, faces, tmp_path):
    rows, errors = done(tmp_path, alone, faces[0], max_pixels=3599)
    assert rows == {}
    assert errors == {str(faces[0]): ["fault: larger than 0.003599 million pixels"]}
    rows, errors = done(tmp_path, alone, faces[0], max_pixels=3600, overwrite=True)
    assert (rows, errors) == ({str(faces[0]): 1}, {})


def test_a_limit_above_pillows_own_is_meant(alone, faces, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("fer_cli.faces.decode.MAX_PIXELS", 1500)
    assert done(tmp_path, alone, faces[0], max_pixels=3600) == ({str(faces[0]): 1}, {})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_text_or_look_like_formulas_are_done(alone, faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [b"caf\xe9.png", b"=1+1.png", b"-o.png", b"a\nb.png", b"@\t.png"]
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)  # noqa: PTH102
    for name in names:
        (tmp_path / "odd" / os.fsdecode(name)).write_bytes(faces[0].read_bytes())
    rows, errors = done(tmp_path, alone, "odd", crops=tmp_path / "crops", sort_into=tmp_path / "sorted")
    assert errors == {}
    assert set(rows) == {r"odd/caf\xe9.png", "odd/=1+1.png", "odd/-o.png", "odd/a\nb.png", "odd/@\t.png"}
    assert len(list((tmp_path / "crops").iterdir())) == len(list((tmp_path / "sorted").rglob("*.png"))) == 5
    monkeypatch.chdir(tmp_path / "odd")
    (tmp_path / "list.csv").write_bytes(
        b"file\n" + b"\n".join(b'"' + bytes(tmp_path) + b"/odd/" + name + b'"' for name in names)
    )
    rows, errors = done(tmp_path, alone, tmp_path / "list.csv", overwrite=True, crops=tmp_path / "crops")
    assert len(rows) == 5
    assert errors == {}
    rows, _ = done(tmp_path, alone, "=1+1.png", "-o.png", overwrite=True)
    assert set(rows) == {"'=1+1.png", "'-o.png"}


def test_a_video_gives_its_rows_with_times_and_one_cut_short_what_it_has(alone, tmp_path):
    whole = make_video(tmp_path / "whole.avi", shades(40, (160, 120)))
    short = tmp_path / "short.avi"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    rows, errors = done(tmp_path, alone, whole, short, every="10")
    assert rows[str(whole)] == 4
    assert 1 <= rows[str(short)] < 4
    ((path, (said,)),) = errors.items()
    assert path == str(short)
    assert re.fullmatch(r"fault: a video that breaks off at frame \d+ of 40", said)
    with (tmp_path / "out" / "p.csv").open(newline="") as file:
        found = [(row["frame"], row["time"]) for row in csv.DictReader(file) if row["file"] == str(whole)]
    assert found == [("0", "0.0"), ("10", "0.4"), ("20", "0.8"), ("30", "1.2")]
    assert (tmp_path / "out" / "p.timeline.png").exists()


def test_a_picture_that_turns_out_too_large_for_memory_is_a_fault(alone, faces, tmp_path, monkeypatch):
    def too_much(*_, **__):
        raise MemoryError

    monkeypatch.setattr("fer_cli.prediction.pipeline.decode", too_much)
    _, errors = done(tmp_path, alone, faces[0])
    assert errors == {str(faces[0]): ["fault: too large for this machine"]}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk_is_a_sentence(alone, faces):
    full = Path("/dev/full").open("w")  # noqa: SIM115
    with pytest.raises(FerError, match=r"disk is full.*standard output"):
        run([str(faces[0])], PredictOptions(), alone, stream=full)
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_what_is_made_is_not_taken_for_an_input(alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_pictures(tmp_path / "in", 3)
    sinks = {
        "crops": tmp_path / "in" / "crops",
        "annotate": tmp_path / "in" / "drawn",
        "sort_into": tmp_path / "in" / "by",
    }
    rows, _ = done(tmp_path, alone, tmp_path / "in", **sinks)
    assert len(rows) == 3
    rows, _ = done(tmp_path, alone, tmp_path / "in", overwrite=True, **sinks)
    assert len(rows) == 3


def test_a_video_where_pyav_is_missing_says_what_to_install(alone, tmp_path, monkeypatch):
    path = make_video(tmp_path / "clip.mp4", shades(3))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FerError, match="PyAV"):
        done(tmp_path, alone, path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_pixels": 0}, "--max-pixels"),
        ({"camera": -1}, "--camera"),
        ({"smooth": 0.0}, "--smooth"),
        ({"resume": True}, "--out FILE"),
        ({"resume": True, "overwrite": True, "out": Path("p.csv")}, "begins anew"),
        ({"format": "parquet"}, "needs a file"),
        ({"camera": 0, "annotate": Path("drawn")}, "--camera"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, said):
    with pytest.raises(UsageError) as caught:
        check([] if "camera" in settings else ["."], PredictOptions(**settings))
    assert said in caught.value.message + caught.value.hint
