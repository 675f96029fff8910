import gc
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Before torch is imported: the tests run side by side, one core each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing here may reach the network, and a test that tries should fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"

# The first example of a test pays for its imports; how long one takes is not what these tests are about.
settings.register_profile("fer", deadline=None, max_examples=50)
settings.load_profile("fer")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """The user's own cache is left alone; what a test wrote there others find."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def no_packaged_model(tmp_path_factory, monkeypatch):
    """Tests do not depend on the model that comes with fer; those that need one make their own."""
    monkeypatch.setattr("fer_cli.pretrained.FOLDER", tmp_path_factory.getbasetemp() / "no packaged model")


class InProcess(Executor):
    """A pool that does at once, in this process, what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture(autouse=True)
def pools_in_process(request, monkeypatch):
    """To start Python takes longer than a test's few crops; what is about processes is marked, or starts ``fer``."""

    def made(workers: int, start: Callable[..., None], *arguments: Any) -> Executor:
        start(*arguments)
        return InProcess()

    if request.node.get_closest_marker("processes") is None:
        monkeypatch.setattr("fer_cli.pools.process_pool", made)


@pytest.fixture(scope="module", autouse=True)
def frozen_garbage():
    """Libraries stay; the collections that training asks for need not look through them each time."""
    yield
    gc.collect()
    gc.freeze()


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Data that is not part of the project: real faces and the detector, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no data beside the checkout ({SHARED.name}/)")
    return SHARED


@pytest.fixture
def made(tmp_path):
    """A prepared dataset of squares, opened."""
    from tests.made import made_dataset

    return made_dataset(tmp_path / "data" / "made")
