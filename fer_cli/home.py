"""A temporary home folder for processes whose user has none, as a container's user without a passwd entry.

Libraries keep their caches at home; without one they fail, or make a folder called ``~`` where the person works.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

#: The folder that stands in for a home, where :func:`provide_home` made one.
temporary: Path | None = None


def provide_home() -> None:
    """Set HOME to a new folder, removed when the process ends, where the user has no home.

    To be called before any library looks for one, which they do when they are imported.
    """
    global temporary
    try:
        Path.home()
        return
    except RuntimeError:
        pass
    temporary = Path(tempfile.mkdtemp(prefix="fer-home-"))
    os.environ["HOME"] = str(temporary)
    # torch names a cache after the user, who has no name either.
    os.environ.setdefault("USER", "fer")
    atexit.register(_remove, temporary, os.getpid())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
