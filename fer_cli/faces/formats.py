"""Formats of pictures and videos, by the endings of names and by first bytes: what is read, and what is known."""

from pathlib import Path

from fer_cli.extras import LIBRARIES

#: Pillow's readers that are used. Its others (PostScript, old game and scanner formats) are more risk than use.
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "JPEG2000", "AVIF")
#: The reader that pillow-heif, an extra, gives Pillow for the pictures of phones.
HEIF = "HEIF"
NEEDS_HEIF = f"HEIC, which needs pillow-heif (type: {LIBRARIES['pillow_heif'].install})"


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


#: The endings of the names of pictures in :data:`FORMATS` and :data:`HEIF`.
_READ = _endings("""
jpg jpeg jpe jfif mpo png apng gif tif tiff bmp dib webp ppm pgm pbm pnm pfm jp2 j2k j2c jpc jpf jpx avif avifs heic
heics heif heifs hif
""")
#: Cameras' own files. Many are TIFF inside, of which Pillow would read a stamp-sized preview.
_RAW = _endings("3fr arw cr2 cr3 dng erf iiq kdc mrw nef nrw orf pef raf raw rw2 sr2 srf srw x3f")
#: Formats of photographs that are not read, by the endings of their names.
_UNREAD = {
    **dict.fromkeys(_RAW, "a camera's raw file"),
    **{".jxl": "JPEG XL", ".psd": "a Photoshop document", ".psb": "a Photoshop document", ".xcf": "a GIMP document"},
    **{".tga": "Targa", ".pcx": "PCX", ".sgi": "SGI", ".ras": "Sun raster", ".exr": "OpenEXR", ".eps": "PostScript"},
}
#: The endings of pictures' names, read or not: such a file is used or reported, never passed over.
PICTURES = _READ | _UNREAD.keys()
#: The endings of videos' names: the containers that FFmpeg reads, and what cameras call theirs. Not those
#: that are other things first (``.dat``, ``.str``, ``.avs``), nor streams of bare pixels, which state no size.
VIDEOS = _endings("""
264 265 266 3g2 3gp amv apv asf avc avi avs2 avs3 bmv cavs cdxl dav dif divx dnxhd dnxhr dv dvr-ms evc f4v flm flv gxf
h261 h263 h264 h265 h266 h26l hevc ifv imx insv ipu ism ismv ivf ivr kux lrv m1v m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d
mkv mlv mod moflex mov mp4 mpe mpeg mpg mpv mts mvi mxf mxg nsv nut obu ogm ogv ogx pdv psp qt rcv rm rmvb roq sdr2 ser
smk svo swf tod tp trp ts ty ty+ usm vc1 vc2 viv vob vvc webm wmv wtv xmv y4m yop
""")
#: How many first bytes :func:`is_heif` needs.
HEAD = 12
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
#: How many first bytes :func:`begins_as_video` needs: two packets of an MPEG transport stream begin in them.
VIDEO_HEAD = 189
#: Brands of ISO media files that are sound or pictures (AVIF; Canon's raw files).
_NO_VIDEO_BRANDS = _HEIF_BRANDS | {b"avif", b"avis", b"crx ", b"M4A ", b"M4B "}
_VIDEO_HEADS = (
    *(b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"OggS", b".RMF"),
    *(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x06\x0e\x2b\x34"),
)


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture."""
    return path.suffix.lower() in PICTURES


def is_video(path: Path) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in VIDEOS


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is HEIC or HEIF, by its brand (ISO/IEC 23008-12, 10.2)."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def begins_as_video(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a video's container.

    Known are MP4 and QuickTime, Matroska and WebM, AVI, FLV, MPEG program and transport streams, Ogg, RealMedia, ASF
    and MXF.
    """
    if head[4:8] == b"ftyp":
        return head[8:12] not in _NO_VIDEO_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return True
    return head.startswith(_VIDEO_HEADS) or (head[:1] == b"G" and head[188:189] == b"G")


def is_raw(path: Path) -> bool:
    """Whether the name is that of a camera's raw file."""
    return path.suffix.lower() in _RAW


def why_unread(path: Path) -> str | None:
    """Why pictures of such a name are not read, in a few words; None if they are, or it is no picture's name."""
    kind = _UNREAD.get(path.suffix.lower())
    return None if kind is None else f"{kind}, a format that is not read (save it as JPEG or PNG)"
