import pickle
import re
from io import StringIO

import numpy as np
import pytest
from huggingface_hub import constants
from rich.console import Console

from fer_cli.cli import weights as weights_module
from fer_cli.models.hub import fetch_own
from fer_cli.models.weights import ALL
from tests.cli.test_path import fer
from tests.hub import Repository, running_hub
from tests.made import sface_graph


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))


def test_the_list_says_what_is_there_where_it_comes_from_its_licence_and_who_may_use_it(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "no cache"))
    rows = [line.split("\t") for line in fer("weights", "list").splitlines()]
    assert [row[0] for row in rows] == list(ALL)
    assert all(len(row) == 5 and row[2] and row[3] and row[4] for row in rows)
    vggface2 = next(row for row in rows if row[0] == "vggface2")
    assert vggface2[1] == ""
    assert "non-commercial" in vggface2[3]
    # Each permission says where it is written.
    assert all(re.search(r"\(.*(\.(com|org|co)/|README\.md)", row[4]) for row in rows)


def test_a_model_that_was_fetched_by_its_name_is_listed_with_the_licence_of_its_card(tmp_path, monkeypatch):
    with running_hub(monkeypatch, tmp_path / "hub") as hub:
        card = b"---\nlicense: cc-by-nc-4.0\n---\n# Smiles\n"
        files = {"README.md": card, "config.json": b'{"model_type": "fer-vit-se"}'}
        hub.repositories["anna/smiles"] = Repository(private=False, commits=[files])
        fetch_own("anna/smiles")
        row = fer("weights", "list").splitlines()[-1].split("\t")
        assert [row[0], *row[2:4]] == ["anna/smiles", "huggingface.co/anna/smiles", "cc-by-nc-4.0"]


def test_the_list_fits_80_columns(monkeypatch):
    console = Console(width=80, force_terminal=True, color_system=None, file=StringIO())
    monkeypatch.setattr(weights_module, "out", console)
    weights_module.list_weights()
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("  permission") for line in lines) >= len(ALL)


def test_what_only_a_person_can_get_says_how():
    said = fer("weights", "fetch", "vggface2", code=1)
    assert "resnet50_ft_weight.pkl" in said
    assert "fer weights import" in said


def test_fetching_needs_to_be_told_what():
    assert "--all" in fer("weights", "fetch", code=2)
    assert "--all" in fer("weights", "fetch", "yunet", "--all", code=2)
    assert "mobilenet_v3_large" in fer("weights", "fetch", "mobilnet", code=2)


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    (tmp_path / "trap.pkl").write_bytes(pickle.dumps({"conv1.weight": Trap()}, protocol=2))
    said = fer("weights", "import", "trap.pkl", code=1)
    assert "nothing in it was run" in said
    assert not (tmp_path / "sprung").exists()


def test_a_pickle_of_a_wrong_shape_names_the_layer(tmp_path):
    (tmp_path / "wrong.pkl").write_bytes(pickle.dumps({"conv1.weight": np.zeros((64, 1, 7, 7), "f4")}, protocol=2))
    said = fer("weights", "import", "wrong.pkl", code=1)
    assert "conv1.weight is 64×1×7×7, where 64×3×7×7 was expected" in said
    assert "cannot be read" in fer("weights", "import", "nowhere.pkl", code=1)


def test_a_file_of_sface_is_copied_and_another_checksum_than_the_published_is_said(tmp_path):
    said = fer("weights", "import", str(sface_graph(tmp_path / "made.onnx")), code=0)
    assert str(tmp_path / "cache" / "sface.onnx") in said
    assert "sface.onnx" in next(line for line in fer("weights", "list").splitlines() if line.startswith("sface"))
    wrong = fer("weights", "import", str(sface_graph(tmp_path / "wrong.onnx", width=64)), code=1)
    assert "is not SFace" in wrong
