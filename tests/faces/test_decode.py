"""What a person would call a picture is decoded; what is none is refused with a reason, and nothing else is raised."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_cli.errors import PictureError
from fer_cli.faces import decode as decoding
from fer_cli.faces.decode import decode

#: 24 × 32 pixels, bright at the top left, red to the right, green downwards.
DOWN, ACROSS = np.mgrid[:24, :32]
RGB = np.stack([ACROSS * 8, DOWN * 10, 128 - DOWN - ACROSS], axis=2).astype(np.uint8)
GREY = RGB[..., 1]
COLOUR = Image.fromarray(RGB)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def near(found: np.ndarray, wanted: np.ndarray, within: float) -> bool:
    return found.shape == wanted.shape and np.abs(found.astype(float) - wanted).mean() <= within


@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("MPO", {"quality": 95}, 3),
        ("GIF", {}, 16),
    ],
)
def test_colour_in_every_format(kind, options, within):
    pixels = decode(encoded(COLOUR, kind, **options))
    assert pixels.dtype == np.uint8
    assert near(pixels, RGB, within)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_becomes_rgb(kind):
    assert (decode(encoded(Image.fromarray(GREY), kind)) == GREY[..., None]).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_shown_as_its_negative(kind):
    assert near(decode(encoded(COLOUR.convert("CMYK"), kind)), RGB, 3)


def test_one_bit_is_black_and_white():
    mask = GREY > 100
    pixels = decode(encoded(Image.fromarray(mask), "PNG"))
    assert (pixels == np.where(mask, 255, 0)[..., None]).all()


def test_palette():
    few = COLOUR.quantize(8)
    assert (decode(encoded(few, "PNG")) == np.asarray(few.convert("RGB"))).all()


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B"), ("TIFF", "I")])
def test_sixteen_bits_are_scaled_rather_than_cut_off(kind, mode):
    deep = np.array([[0, 128, 129, 257, 32896, 65278, 65406, 65535]])
    order = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
    picture = Image.frombytes(mode, (8, 1), deep.astype(order).tobytes())
    found = decode(encoded(picture, kind))
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 254, 255]


def test_sixteen_bits_of_the_largest_values_are_bright_not_black():
    assert decode(encoded(Image.fromarray(np.full((4, 4), 65535, np.uint16)), "PNG")).min() == 255


def test_floats_are_refused():
    with pytest.raises(PictureError, match="neither of 8 nor of 16 bits"):
        decode(encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8)).convert(mode)
    alpha = np.zeros((4, 4), np.uint8)
    alpha[0] = 255
    picture.putalpha(Image.fromarray(alpha))
    pixels = decode(encoded(picture, "PNG"))
    assert (pixels[0] == 0).all()
    assert (pixels[1:] == 255).all()


def test_the_transparent_colour_of_a_palette_is_white():
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert decode(encoded(picture, "PNG", transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_a_gif_needs_no_extension_and_gives_its_first_frame(tmp_path):
    first, second = (Image.fromarray(np.full((6, 5), tone, np.uint8)) for tone in (40, 200))
    path = tmp_path / "subject01.happy"
    path.write_bytes(encoded(first, "GIF", save_all=True, append_images=[second]))
    assert (decode(path) == 40).all()


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, RGB),
        (2, RGB[:, ::-1]),
        (3, RGB[::-1, ::-1]),
        (4, RGB[::-1]),
        (5, RGB.transpose(1, 0, 2)),
        (6, np.rot90(RGB)),
        (7, RGB[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(RGB, -1)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_turns_the_picture_upright(kind, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored))
    options = {"lossless": True} if kind == "WEBP" else {}
    assert (decode(encoded(picture, kind, exif=exif, **options)) == RGB).all()


def test_exif_that_cannot_be_written_again_still_turns_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0
    data = encoded(COLOUR, "JPEG", exif=exif)
    # The resolution, a fraction, is now said to be text.
    tag = data.index(bytes.fromhex("011a0005") if b"MM\x00*" in data else bytes.fromhex("1a010500"))
    broken = bytearray(data)
    broken[tag + (3 if b"MM\x00*" in data else 2)] = 2
    assert decode(bytes(broken)).shape == (32, 24, 3)


def test_a_path_bytes_an_image_and_an_array_give_the_same(tmp_path):
    path = tmp_path / "face.png"
    COLOUR.save(path)
    for source in (path, str(path), path.read_bytes(), Image.open(path), RGB):
        assert (decode(source) == RGB).all()


def test_a_grey_array_becomes_rgb():
    assert (decode(GREY) == GREY[..., None]).all()


@pytest.mark.parametrize(
    "array",
    [RGB.astype(np.float32), RGB.astype(np.uint16), RGB[..., :2], RGB[None], RGB[:0], np.zeros((4, 4, 4), np.uint8)],
    ids=["float", "uint16", "two channels", "batch", "no rows", "four channels"],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(PictureError, match="not uint8"):
        decode(array)


def png_header(width: int, height: int) -> bytes:
    """A file of a hundred bytes that claims to be width × height pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"Not a picture at all, though its name may say so.\n", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (png_header(30_000, 30_000), "larger than 100 million pixels"),
        (png_header(10_001, 10_000), "larger than 100 million pixels"),
        (png_header(500, 500), "broken or cut short"),
    ],
    ids=["empty", "text", "PostScript", "bomb", "just too large", "no data"],
)
@pytest.mark.parametrize("given", ["bytes", "path"])
def test_hostile_files_are_refused_with_a_reason(tmp_path, data, reason, given):
    path = tmp_path / "face.png"
    path.write_bytes(data)
    with pytest.raises(PictureError) as caught:
        decode(data if given == "bytes" else path)
    assert caught.value.message == reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_a_file_cut_short_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    # Formats keep their tables at different ends: half a TIFF may not even say what it is.
    with pytest.raises(PictureError, match=r"broken or cut short|not a picture"):
        decode(data[: len(data) // 2])


def test_a_file_too_large_is_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "face.bmp"
    COLOUR.save(path)
    monkeypatch.setattr(decoding, "MAX_BYTES", 1_000)
    with pytest.raises(PictureError, match="larger than"):
        decode(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.png", "no such file"),
        (".", "a folder, not a picture"),
        ("face.png/inside.png", "no path to a file"),
        ("a\0b", "no path to a file"),
        ("x" * 5_000, "no path to a file"),
    ],
)
def test_what_is_no_file_is_refused_with_a_reason(tmp_path, name, reason):
    COLOUR.save(tmp_path / "face.png")
    with pytest.raises(PictureError) as caught:
        decode(Path(tmp_path, name))
    assert caught.value.message == reason


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "face.png"
    COLOUR.save(path)
    path.chmod(0)
    with pytest.raises(PictureError, match="no permission"):
        decode(path)


@pytest.mark.skipif(os.name != "posix", reason="no pipes in folders")
def test_case_25_a_pipe_or_a_device_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(PictureError, match="a pipe, a socket or a device, not a file"):
            decode(tmp_path / name)


@pytest.mark.filterwarnings("error")
def test_no_warning_reaches_the_person(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB.shape[0] * RGB.shape[1] - 1)
    assert (decode(encoded(COLOUR, "PNG")) == RGB).all()


SAMPLES = [
    encoded(COLOUR, "PNG"),
    encoded(COLOUR, "JPEG"),
    encoded(COLOUR, "GIF"),
    encoded(COLOUR, "BMP"),
    encoded(COLOUR, "WEBP"),
    encoded(COLOUR, "PPM"),
    encoded(COLOUR, "TIFF"),
]


@given(st.sampled_from(SAMPLES), st.data())
def test_damage_gives_pixels_or_a_reason_and_never_another_error(sample, data):
    damaged = bytearray(sample)
    places = st.integers(0, min(len(sample), 300) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)):
        damaged[place] = byte
    try:
        pixels = decode(bytes(damaged[: data.draw(st.integers(1, len(sample)))]))
    except PictureError:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.dtype == np.uint8
