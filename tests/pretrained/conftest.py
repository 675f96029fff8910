import shutil

import pytest

from fer_cli import pretrained
from tests.pretrained.made import packaged_stand_in


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The folder of a packaged model of a small network, which nobody trained."""
    folder = packaged_stand_in(tmp_path / "installed" / "faces")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    shutil.copytree(folder, folder.with_name(pretrained.QUICK))
    return folder
