"""What a person would call a picture is decoded; what is none is refused with a reason, and nothing else is raised."""

import os
import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features
from pillow_heif import register_heif_opener

from fer_cli import files
from fer_cli.errors import PictureError
from fer_cli.faces import decode as decoding
from fer_cli.faces.decode import begins_as_picture, decode
from fer_cli.faces.formats import FORMATS, HEIF, PICTURES, VIDEOS

# To write such pictures; whether they can be read is for what is tested to see to.
register_heif_opener()

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


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (3000, 1500)])
def test_pixels_are_the_files_whether_pillow_has_them_in_one_piece_or_in_several(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    found = decode(Image.fromarray(pixels))
    assert np.array_equal(found, pixels)
    assert found.flags.writeable


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
        ("JPEG2000", {}, 0),
        ("JPEG2000", {"irreversible": True, "quality_layers": [5]}, 3),
        ("AVIF", {"quality": 95}, 3),
        ("HEIF", {"quality": 95}, 3),
    ],
)
def test_case_05_colour_in_every_format(kind, options, within, tmp_path):
    data = encoded(COLOUR, kind, **options)
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert near(pixels, RGB, within)
    (tmp_path / "face.JPG").write_bytes(data)
    assert (decode(tmp_path / "face.JPG") == pixels).all()
    assert begins_as_picture(tmp_path / "face.JPG")


@pytest.mark.parametrize("kind", ["JPEG2000", "AVIF", "HEIF"])
def test_grey_and_transparency_in_the_newer_formats(kind):
    assert near(decode(encoded(Image.fromarray(GREY), kind, quality=95)), GREY[..., None].repeat(3, 2), 3)
    clear = COLOUR.copy()
    clear.putalpha(Image.fromarray(np.where(ACROSS < 16, 0, 255).astype(np.uint8)))
    pixels = decode(encoded(clear, kind, quality=95))
    assert (pixels[:, :12] > 250).all()
    assert near(pixels[:, 20:], RGB[:, 20:], 8)


def test_sixteen_bits_of_jpeg_2000_are_scaled():
    deep = Image.fromarray(np.full((16, 16), 65535, np.uint16))
    assert decode(encoded(deep, "JPEG2000")).min() == 255


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_of_several_frames_the_first_is_taken_and_that_is_noted(kind):
    frames = [Image.fromarray(np.full((64, 64, 3), tone, np.uint8)) for tone in (40, 200)]
    notes = []
    pixels = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), note=notes.append)
    assert near(pixels, np.full((64, 64, 3), 40), 3)
    assert notes == [decoding.FIRST_OF_SEVERAL]


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_case_05_phones_pictures_are_turned_upright_once(kind, orientation):
    # The turn is written as the container's own property; what EXIF says besides must not turn the picture again.
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Two by two pixels share a colour: in flat quarters none of them is lost.
    quarters = np.kron([[0, 1], [2, 3]], np.ones((16, 24))).astype(int)
    picture = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [240, 240, 240]], np.uint8)[quarters]
    stored = {1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1]}
    stored |= {5: picture.transpose(1, 0, 2), 6: np.rot90(picture)}
    stored |= {7: picture[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(picture, -1)}
    data = encoded(Image.fromarray(np.ascontiguousarray(stored[orientation])), kind, exif=exif.tobytes(), quality=95)
    assert near(decode(data), picture, 6)


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


@pytest.fixture
def no_heif(monkeypatch):
    """An installation without pillow-heif."""
    decoding._reads_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    yield
    decoding._reads_heif.cache_clear()


@pytest.mark.usefixtures("no_heif")
def test_case_05_without_pillow_heif_its_pictures_are_told_with_what_to_type(tmp_path):
    path = tmp_path / "IMG_0004.HEIC"
    path.write_bytes(encoded(COLOUR, "HEIF"))
    assert begins_as_picture(path)
    with pytest.raises(PictureError, match=r"pip install 'fer-cli\[heic\]'"):
        decode(path)
    assert near(decode(encoded(COLOUR, "AVIF", quality=95)), RGB, 3)


def test_case_05_a_heic_of_which_only_the_head_is_there_is_broken():
    # As case 05 makes it: a phone's first bytes, then nothing.
    head = bytes.fromhex("000000186674797068656963000000006865696d6d696631")
    with pytest.raises(PictureError, match="broken or cut short"):
        decode(head + bytes(50_000))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.NEF", "a camera's raw file"),
        ("a.psd", "a Photoshop document"),
        ("a.jxl", "JPEG XL"),
        ("a.eps", "PostScript"),
    ],
)
def test_a_format_that_is_known_and_not_read_is_named(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 10)
    with pytest.raises(PictureError) as caught:
        decode(tmp_path / name)
    assert caught.value.message == f"{kind}, a format that is not read (save it as JPEG or PNG)"


def test_the_stamp_in_a_cameras_raw_file_is_not_taken_for_the_picture(tmp_path):
    COLOUR.save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.nef")
    with pytest.raises(PictureError, match="raw file"):
        decode(tmp_path / "a.nef")


def test_a_picture_whose_name_lies_of_its_format_is_read(tmp_path):
    (tmp_path / "a.psd").write_bytes(encoded(COLOUR, "PNG"))
    assert (decode(tmp_path / "a.psd") == RGB).all()


def test_case_02_a_git_lfs_pointer_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:92\nsize 414429\n")
    with pytest.raises(PictureError, match="git lfs pull"):
        decode(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="not a regular file"):
        decode(tmp_path / "a.jpg")
    assert not begins_as_picture(tmp_path / "a.jpg")


def test_every_format_that_is_read_has_its_endings_in_the_one_list():
    assert features.check("avif")
    kinds = {*FORMATS, HEIF, "MPO", "DIB"}
    of_pillow = {ending for ending, kind in Image.registered_extensions().items() if kind in kinds}
    assert of_pillow <= PICTURES
    assert "EPS" not in FORMATS
    assert not PICTURES & VIDEOS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000", "AVIF", "HEIF"])
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


@pytest.mark.parametrize("stated", [lambda size: size, lambda size: size - 1, lambda size: 1, lambda size: size + 1])
@pytest.mark.parametrize("at_once", [0, 1 << 20])
def test_a_file_is_read_whole_whatever_its_size_is_said_to_be(at_once, stated, tmp_path, monkeypatch):
    path = tmp_path / "face.png"
    COLOUR.save(path)
    opened = []

    def open_descriptor(path):
        descriptor, size = files.open_descriptor(path)
        opened.append(descriptor)
        return descriptor, stated(size)

    monkeypatch.setattr(decoding, "open_descriptor", open_descriptor)
    monkeypatch.setattr(decoding, "AT_ONCE", at_once)
    assert np.array_equal(decode(path), np.array(COLOUR))
    # Nothing is left open.
    [descriptor] = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


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
        with pytest.raises(PictureError, match="a pipe, a socket or a device"):
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
    encoded(COLOUR, "JPEG2000"),
    encoded(COLOUR, "AVIF"),
    encoded(COLOUR, "HEIF"),
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
