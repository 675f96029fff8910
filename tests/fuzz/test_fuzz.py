"""Files broken in all ways at every door: each ends in a sentence, in time, and with nothing done that was not asked.

``make fuzz`` tries ten times as many as the suite does; ``FER_FUZZ`` says how many in all.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from fer_cli.errors import FerError
from tests.fuzz.doors import DOORS, Door
from tests.fuzz.mutations import bytes_mutations, json_mutations
from tests.fuzz.watch import FaultError, watched

INPUTS = int(os.environ.get("FER_FUZZ", "200"))
EACH = -(-INPUTS // len(DOORS))

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="no alarm and no devices here"),
    pytest.mark.timeout(120 + 20 * EACH),
]


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_what_is_broken_is_a_sentence(door: Door, tmp_path, monkeypatch, record_property):
    master, work = tmp_path / "master", tmp_path / "around" / "work"
    master.mkdir()
    door.make(master)
    work.parent.mkdir()
    (work.parent / "neighbour.csv").write_text("mine")
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("FER_CACHE", str(cache))
    tried = 0

    def attempt(folder: Path) -> None:
        monkeypatch.chdir(folder)
        with watched(folder, cache):
            door.use(folder)

    # Broken files say something only where the whole one is accepted, and the first reading of all pays for imports.
    attempt(copied(master, work))

    @settings(
        max_examples=EACH, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(json_mutations() if door.json else bytes_mutations())
    def broken(mutate) -> None:
        nonlocal tried
        tried += 1
        target = copied(master, work) / door.target
        content = mutate(target.read_bytes())
        target.unlink()
        target.write_bytes(content)
        try:
            attempt(work)
        except FerError:
            pass
        except FaultError as fault:
            raise AssertionError(f"{door.name}: {fault}: {content[:300]!r}") from fault
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            raise AssertionError(f"{door.name}: {type(error).__name__} at {where}: {content[:300]!r}") from error

    try:
        broken()
    finally:
        record_property("fuzz", (door.name, tried))
