"""Downloads that are resumed, checked, and never seen half."""

import hashlib
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from fer_cli.errors import ModelError
from fer_cli.files import locked
from fer_cli.progress import Progress, silent

CHUNK = 1 << 20
#: The server's answer to a request for what lies beyond a file's end.
NOTHING_LEFT = 416


def download(url: str, path: Path, *, sha256: str, progress: Progress = silent) -> None:
    """Fetch ``url`` to ``path``; a download that was cut off goes on from where it was.

    ``sha256`` is the digest of the whole file, or its beginning. Raises :class:`~fer_cli.errors.ModelError` if the file
    cannot be had or is another one.
    """
    with locked(path, "downloading"):
        _download(url, path, sha256, progress)


def _download(url: str, path: Path, sha256: str, progress: Progress) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, progress)
    except (URLError, OSError, ValueError) as error:
        raise ModelError(
            f"{url} cannot be downloaded: {getattr(error, 'reason', None) or error}.",
            hint="Type the same line again to go on from where it stopped.",
        ) from error
    if not digest(part).startswith(sha256):
        part.unlink()
        raise ModelError(f"What {url} gave is not the file that was expected: its checksum differs.")
    part.replace(path)


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _receive(url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.is_file() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urlopen(request, timeout=60)
    except HTTPError as error:
        if error.code == NOTHING_LEFT and have:
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        total = int(response.headers.get("Content-Length", 0)) + file.tell()
        while block := response.read(CHUNK):
            file.write(block)
            progress(f"fetching {Path(url).name} (MB)", file.tell() // CHUNK, total // CHUNK)
    if total and part.stat().st_size < total:
        raise URLError(f"the connection ended after {part.stat().st_size} of {total} bytes")
