"""Files and folders at addresses that fsspec opens: ``s3://``, ``gs://``, ``hf://``, ``https://``, ``zip://…::``."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from fer_cli.errors import FerError, PictureError
from fer_cli.extras import missing, require
from fer_cli.faces.decode import why_unreadable
from fer_cli.files import disk_full_reason, is_litter, open_regular
from fer_cli.prediction.listing import LOCAL, Address, protocols_of

#: Seconds after which a server that does not answer, or stops sending, is given up.
CONNECT_TIMEOUT, READ_TIMEOUT = 20, 60
#: The largest video that is copied to the temporary folder to be read, in bytes.
MAX_VIDEO_BYTES = 10_000_000_000
#: Copies up to this size stay in memory.
IN_MEMORY = 32_000_000
CHUNK = 1 << 20
#: Folders deeper than this are a loop of links.
MAX_DEPTH = 64
NO_FILE = "no such file"

_HTTP = ("http", "https")
#: The packages that fsspec needs for an address, as they are imported.
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
_S3 = (
    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; of a public bucket, type FSSPEC_S3_ANON=true "
    "before the command."
)
_GS = "Type: gcloud auth application-default login; of a public bucket, type FSSPEC_GS_TOKEN=anon before the command."
#: How access is given, by protocol.
_ACCESS = {"s3": _S3, "s3a": _S3, "gs": _GS, "gcs": _GS, "hf": "Type: hf auth login, or set HF_TOKEN."}
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError")
_CUT = ("ClientPayloadError", "IncompleteRead", "IncompleteReadError", "ResponseStreamingError", "RemoteProtocolError")


def check_address(address: str) -> None:
    """Raise :class:`~fer_cli.errors.PictureError` if a package is missing for ``address``, or nothing can open it."""
    import fsspec

    for protocol in protocols_of(address):
        try:
            fsspec.get_filesystem_class(protocol)
        except ImportError as error:
            if protocol in _PACKAGES:
                raise missing(_PACKAGES[protocol], f"{protocol}://", PictureError) from None
            raise PictureError(f"{protocol}:// needs a package that is not installed.", hint=f"{error}.") from None
        except ValueError:
            raise PictureError(f"{address} cannot be opened: fsspec knows no {protocol}://.") from None


@contextmanager
def address_errors(address: str) -> Iterator[None]:
    """Turn whatever a file system raises in the block into a :class:`~fer_cli.errors.PictureError` of a few words."""
    try:
        yield
    except FerError:
        raise
    except Exception as error:  # each file system raises errors of its own
        reason, refused = reason_of(error)
        if not reason:
            text = " ".join(str(error).split())[:200]
            reason = f"fsspec says: {text or type(error).__name__}"
        hint = _ACCESS.get(protocols_of(address)[-1], "Does it need a password or a signature?") if refused else ""
        raise PictureError(reason, hint=hint) from error


def reason_of(error: BaseException) -> tuple[str, bool]:
    """Why a server or a disk does not give a file, and whether access was refused; empty for any other error."""
    if full := disk_full_reason(error):
        return f"no room for a temporary copy: {full}", False
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and len(chain) < 10:
        chain.append(each)
        each = each.__cause__ or each.__context__
    names = [kind.__name__ for each in chain for kind in type(each).__mro__]
    statuses = [status for each in chain if isinstance(status := _status(each), int) and status >= 400]
    if any(name in names for name in _NO_CREDENTIALS):
        return "no credentials for it are set", True
    # Before the rest, for aiohttp gives it a number as if the server had answered with one.
    if any(name in names for name in _CUT):
        return "the connection ended before the file did", False
    if statuses and statuses[0] in (401, 403):
        return f"access is refused (HTTP {statuses[0]})", True
    # gcsfs states the server's words alone.
    if "PermissionError" in names or str(chain[0]).startswith(("Forbidden", "Unauthorized")):
        return "access is refused", True
    if statuses and statuses[0] != 404:
        return f"the server answers with HTTP {statuses[0]}", False
    if "TimeoutError" in names or any("Timeout" in name for name in names):
        return f"no answer in {READ_TIMEOUT} seconds", False
    if any(
        name in names for name in ("ClientConnectorError", "ConnectionError", "EndpointConnectionError", "gaierror")
    ):
        return "the server cannot be reached", False
    if statuses or "FileNotFoundError" in names:
        return NO_FILE, False
    return "", False


def _status(error: BaseException) -> Any:
    for name in ("status", "status_code", "code"):
        for each in (error, getattr(error, "response", None)):
            if isinstance(status := getattr(each, name, None), int):
                return status
    return None


def file_system(address: str) -> tuple[Any, str]:
    """fsspec's file system of ``address``, with time limits, and the path in it.

    Raises :class:`~fer_cli.errors.PictureError` with a few words.
    """
    import fsspec

    check_address(address)
    settings: dict[str, Any] = {
        "s3": {"config_kwargs": {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}},
        "gs": {"requests_timeout": READ_TIMEOUT},
    }
    protocols = protocols_of(address)
    if not set(_HTTP).isdisjoint(protocols):
        require("aiohttp", "https://", PictureError)
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        settings |= {name: {"client_kwargs": {"timeout": limits}} for name in _HTTP}
    with address_errors(address):
        if protocols[-1] in LOCAL:
            # A pipe or a device never ends.
            open_seekable(Path(address.rpartition("::")[2].rpartition("://")[2])).close()
        found: tuple[Any, str] = fsspec.url_to_fs(
            address, **{name: settings[name] for name in protocols if name in settings}
        )
        return found


def matching_addresses(address: str) -> list[str] | None:
    """The files that ``address`` names, itself or those that match it as a pattern; None if it is a folder.

    Raises :class:`~fer_cli.errors.PictureError` if there is nothing of this name, or access is refused.
    """
    try:
        system, path = file_system(address)
        http = _is_http(address)
        with address_errors(address):
            if "*" in path if http else glob.has_magic(path) and not system.exists(path):
                found = system.glob(path, detail=True)
                return sorted(_named(address, name) for name, about in found.items() if about["type"] == "file")
            is_folder = path.endswith("/") if http else system.info(path)["type"] == "directory"
            return None if is_folder else [address]
    except PictureError as error:
        raise _about(address, error) from error


def _about(address: str, error: PictureError) -> PictureError:
    if error.message == NO_FILE:
        return PictureError(f"There is no file or folder {address}.")
    return PictureError(f"{address} cannot be read: {error.message}.", hint=error.hint)


def addresses_below(address: str) -> Iterator[tuple[str, str | None]]:
    """The files in a folder at every depth, by name, and folders that cannot be listed with the reason.

    Each folder is listed when it is reached; hidden files and folders are ignored. Raises
    :class:`~fer_cli.errors.PictureError` if the folder itself cannot be listed.
    """
    system, root = file_system(address)
    stack = [(root, 0)]
    while stack:
        folder, depth = stack.pop()
        try:
            with address_errors(address):
                listed = sorted((about["name"], about["type"]) for about in system.ls(folder, detail=True))
        except PictureError as error:
            if depth == 0:
                raise _about(address, error) from error
            yield _named(address, folder), f"a folder that cannot be read: {error.message}"
            continue
        below = []
        for name, kind in listed:
            # Object stores list a folder's own mark as a file in it.
            last = name.rstrip("/").rpartition("/")[2]
            if name.rstrip("/") == folder.rstrip("/") or is_litter(last):
                continue
            if kind == "file":
                yield _named(address, name), None
            elif depth < MAX_DEPTH:
                below.append((name, depth + 1))
        stack += reversed(below)


def _named(address: str, path: str) -> str:
    """The address of ``path`` in the file system of ``address``."""
    if _is_http(path):
        return path
    head, _, tail = address.partition("://")
    tail, chained, rest = tail.partition("::")
    if not tail.startswith("/"):
        path = path.lstrip("/")
    return f"{head}://{path}{chained}{rest}"


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


class Content(SpooledTemporaryFile[bytes]):
    """A copy of a file's bytes, in memory or if it is large in a temporary file without a name, gone when closed.

    ``name`` is what the file is called.
    """

    def __init__(self, name: str):
        super().__init__(IN_MEMORY)
        self._called = name

    @property
    def name(self) -> str:
        """The file's name."""
        return self._called


def copied(file: IO[bytes], name: str, *, limit: int, size: int | None = None) -> Content:
    """A copy of ``file`` from where it stands, of ``size`` bytes if that is known.

    Raises :class:`~fer_cli.errors.PictureError` for more than ``limit`` bytes, counted while they are read, or fewer
    than ``size``.
    """
    content, count = Content(name), 0
    while chunk := file.read(CHUNK if size is None else min(CHUNK, size - count)):
        count += len(chunk)
        if count > limit:
            content.close()
            raise PictureError(f"larger than {limit // 1_000_000} MB")
        content.write(chunk)
    if size is not None and count < size:
        raise PictureError(f"cut short: {count} of {size} bytes")
    content.seek(0)
    return content


def fetch(address: Address, *, limit: int) -> Content:
    """A copy of the file at ``address``.

    Raises :class:`~fer_cli.errors.PictureError`, with a few words, if it cannot be read whole or has more than
    ``limit`` bytes.
    """
    system, path = file_system(str(address))
    with address_errors(str(address)):
        http = _is_http(str(address))
        # Of the web, one request that is read from its beginning; asking for the size first would be another.
        with system.open(path, "rb", **({"block_size": 0, "size": 1} if http else {})) as file:
            stated = None if http else getattr(file, "size", None)
            return copied(file, address.name, limit=limit, size=stated if isinstance(stated, int) else None)


def open_seekable(path: Path) -> IO[bytes]:
    """The file at a path or an address, to be read from any place.

    What cannot be read but from its beginning is copied first. Raises :class:`~fer_cli.errors.PictureError` with a few
    words.
    """
    if not isinstance(path, Address):
        try:
            return open_regular(path)
        except (OSError, ValueError) as error:
            raise PictureError(why_unreadable(error)) from error
    system, inside = file_system(str(path))
    with address_errors(str(path)):
        file: IO[bytes] = system.open(inside, "rb")
        try:
            # A server of the web may refuse to begin anywhere but at the beginning, and says so only when asked.
            file.seek(-1, 2)
            file.read(1)
            file.seek(0)
        except (ValueError, OSError, NotImplementedError):
            file.close()
            return fetch(path, limit=MAX_VIDEO_BYTES)
        return file
