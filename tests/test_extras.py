"""An optional library that is missing is named with the line that installs it, before any long work."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import fsspec  # noqa: F401 (its registry)
import pytest
from packaging.requirements import Requirement
from PIL import Image
from pillow_heif import register_heif_opener

import fer_cli
from fer_cli import doctor
from fer_cli.errors import MissingLibraryError, UsageError
from fer_cli.extras import LIBRARIES, is_installed, require
from fer_cli.faces import decode
from fer_cli.models.difference import DifferenceConfig, DifferenceModel
from fer_cli.models.inference import Classifier
from fer_cli.models.onnx import with_runtime
from tests.cli.test_path import fer
from tests.made import CLASSES, made_dataset
from tests.prediction.runs import write_run
from tests.videos import make_video, shades

PACKAGE = Path(fer_cli.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {extra: [Requirement(each) for each in lines] for extra, lines in PROJECT["optional-dependencies"].items()}
#: For who works on fer, not for who uses it.
DEVELOPERS = {"dev", "docs", "lint", "test"}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder to stand in, with a run, a dataset, pictures and a video."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "one", features="target")
    made_dataset(tmp_path / "data" / "made")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 40), "grey").save(tmp_path / "images" / "a.png")
    make_video(tmp_path / "images" / "b.mp4", shades(3))
    (tmp_path / "made.toml").write_text(
        '[datasets]\nmade = "data/made"\n[[recipes]]\nname = "baseline"\ntrain = "baseline"\n[evaluations.within]\n'
    )
    return tmp_path


@pytest.fixture
def without(monkeypatch):
    """Hides a library, as if it were not installed."""

    def hide(module: str) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        # What another test has opened is known there.
        for protocol in ("s3", "gs", "https"):
            monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
        monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)

    return hide


def needs_newer_exporter(folder: Path) -> Path:
    """A run whose encoder is a vision transformer of timm, which torch's older exporter does not read."""
    run = write_run(folder, features="target")
    labels = dict(enumerate(CLASSES))
    config = DifferenceConfig(backbone="timm/test_vit", image_size=32, features="target", id2label=labels)
    DifferenceModel(config).save_pretrained(folder)
    return run.path


@pytest.mark.parametrize(
    ("module", "line", "code"),
    [
        ("av", "predict images/b.mp4 --run runs/one --detector none --out p.csv", 1),
        ("av", "predict images/a.png images/b.mp4 --run runs/one --detector none --out p.csv", 1),
        ("onnxscript", "export runs/vit", 1),
        ("tensorboard", "train difference --encoder scratch --logger tensorboard", 2),
        ("tensorboard", "train difference --encoder scratch --logger none --logger tensorboard --cv", 2),
        ("wandb", "train vit-se --logger wandb", 2),
        ("mlflow", "train difference --encoder scratch --logger mlflow", 2),
        ("ray", "predict images/a.png --run runs/one --detector none --engine ray --out p.csv", 2),
        ("ray", "benchmark made.toml --engine ray", 2),
        ("aiohttp", "predict https://example.org/a.png --run runs/one --out p.csv", 1),
        ("s3fs", "predict s3://bucket/a.png --run runs/one --out p.csv", 1),
        ("gcsfs", "predict gs://bucket/a.png --run runs/one --out p.csv", 1),
    ],
)
def test_a_line_that_needs_a_missing_library_is_refused_before_anything_is_written(here, without, module, line, code):
    if "vit" in line:
        needs_newer_exporter(here / "runs" / "vit")
    before = sorted(here.rglob("*"))
    without(module)
    said = " ".join(fer(*line.split(), code=code).split())
    assert f"{LIBRARIES[module].title}, which is not installed" in said
    assert LIBRARIES[module].install in said
    assert sorted(here.rglob("*")) == before


def test_videos_in_a_folder_of_pictures_are_skipped_with_what_to_type(here, without):
    without("av")
    fer("predict", "images", "--run", "runs/one", "--detector", "none", "--out", "p.csv", code=3)
    assert len((here / "p.csv").read_text().splitlines()) == 2
    assert "pip install 'fer-cli[video]'" in (here / "p.errors.csv").read_text()


def test_heic_pictures_are_skipped_with_what_to_type(here, without):
    register_heif_opener()
    Image.new("RGB", (40, 40), "grey").save(here / "images" / "c.heic")
    without("pillow_heif")
    decode._reads_heif.cache_clear()
    fer("predict", "images", "--run", "runs/one", "--detector", "none", "--out", "p.csv", code=3)
    decode._reads_heif.cache_clear()
    assert "pip install 'fer-cli[heic]'" in (here / "p.errors.csv").read_text()


def test_clips_that_cannot_be_prepared_without_pyav(here, without):
    make_video(here / "clips" / "anna" / "happiness.mp4", shades(3))
    without("av")
    said = fer("prepare", "files", "clips", "--pattern", "{subject}/{label}.mp4", "--detector", "none", code=1)
    assert "fer-cli[video]" in said
    assert not (here / "data" / "clips").exists()


def test_what_most_networks_need_is_no_extra(here, without):
    """torch's older exporter reads a MobileNetV3; a training logs nowhere unless asked."""
    for module in LIBRARIES:
        without(module)
    assert "checked" in fer("export", "runs/one")
    fer("train", "difference", "--backbone", "mobilenet_v3_small", "--encoder", "scratch", "--epochs", "1")


def test_torch_runs_a_network_whose_graph_needs_what_is_missing_and_the_line_says_so(here, without):
    classifier = Classifier.load(needs_newer_exporter(here / "runs" / "vit"), "cpu")
    without("onnxscript")
    chosen, line = with_runtime(classifier, "onnxruntime")
    assert chosen is classifier
    assert line.startswith("torch: no graph for onnxruntime")
    assert "fer-cli[onnx]" in line


def test_the_error_names_the_line_that_installs_the_library(without):
    without("av")
    assert not is_installed("av")
    with pytest.raises(MissingLibraryError, match=r"^A video needs PyAV, which is not installed\.$") as caught:
        require("av", "A video")
    assert caught.value.hint == "Type: pip install 'fer-cli[video]'"
    with pytest.raises(UsageError):
        require("av", "A video", UsageError)
    require("onnxscript")


def test_every_extra_of_the_table_is_declared_and_brings_the_library():
    for library in LIBRARIES.values():
        if library.extra:
            brought = {each.name for each in EXTRAS[library.extra]}
            # fsspec[http] is aiohttp.
            assert library.distribution in brought | ({"aiohttp"} if "fsspec" in brought else set())
    assert {library.extra for library in LIBRARIES.values()} - {None} == EXTRAS.keys() - DEVELOPERS - {"all"}


def test_all_is_every_extra_for_users_and_no_library_is_asked_for_twice():
    [every] = EXTRAS["all"]
    assert every.extras == EXTRAS.keys() - DEVELOPERS - {"all"}
    always = {Requirement(each).name for each in PROJECT["dependencies"]}
    optional = {library.distribution for library in LIBRARIES.values()}
    assert not always & optional


def test_doctor_lists_the_same_table(without):
    without("av")
    found = {each.name: each for each in doctor.versions()}
    for library in LIBRARIES.values():
        assert found[library.distribution].status == "ok"
        missing = found[library.distribution].value.startswith("not installed")
        assert found[library.distribution].hint == (library.install if missing else "")


def _imports(path: Path) -> set[str]:
    """The top-level modules that a file imports, and tensorboard where it is torch's part for it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {"tensorboard" if name.endswith(".tensorboard") else name.partition(".")[0] for name in names}


@pytest.mark.parametrize("module", LIBRARIES)
def test_whatever_imports_an_optional_library_asks_for_it_in_the_same_room(module):
    asks = re.compile(rf"""(require|is_installed|missing)\(\s*["']{module}["']""")
    rooms = {}
    for path in PACKAGE.rglob("*.py"):
        imported, asked = rooms.setdefault(path.relative_to(PACKAGE).parts[0], ([], []))
        imported += [path] * (module in _imports(path))
        asked += asks.findall(path.read_text(encoding="utf-8"))
    for imported, asked in rooms.values():
        assert not imported or asked, f"{imported[0]} imports {module}, and nothing asks whether it is there"
