"""The documents of a run, changed at random: each is read or refused with a sentence, and nothing else happens."""

import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_cli.cli import choose
from fer_cli.cli.settings import defaults_from_file, defaults_from_unfinished
from fer_cli.dataset.prepared import PreparedDataset
from fer_cli.errors import FerError, ModelError, RunError, UsageError
from fer_cli.evaluation.compare import variants
from fer_cli.evaluation.evaluate import evaluate
from fer_cli.evaluation.report import page
from fer_cli.evaluation.results import StoredEvaluation, refuse_foreign
from fer_cli.export.onnx import _metadata
from fer_cli.options import Session
from fer_cli.prediction.predictor import open_model
from fer_cli.runs.run import CrossValidation, Run, open_any, seen_behind
from fer_cli.training.folder import interrupted, will_resume
from fer_cli.training.recipes.difference import DifferenceRecipe
from tests.trained import trained

DEEP = json.loads("[" * 200 + "]" * 200)
STRANGE = st.one_of(
    st.sampled_from(
        [None, True, -1, 0, 10**30, 2**63, 1e308, float("inf"), float("nan"), "", "x" * 5000, "\x1b[31m", "../..", "\0"]
    ),
    st.sampled_from([[], {}, [[]], [None], {"a": 1}, {"": {}}, ["x"], [1], DEEP]),
    st.integers(),
    st.text(max_size=5),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cross-validation on the dataset of squares, evaluated, with the documents of every kind."""
    home = trained(tmp_path_factory.mktemp("trained"))
    fold = home / "runs" / "cv" / "fold0"
    evaluate(Run.open(fold), session=Session("cpu"))
    (home / "variants").mkdir()
    (home / "variants" / "comparison.json").write_text(json.dumps({"version": 1, "variants": ["a", "b"]}))
    (home / "begun").mkdir()
    recipe = DifferenceRecipe().to_dict()
    identity = {"model": "difference", "recipe": recipe, "dataset": "0", "path": "data", "cross_validation": False}
    (home / "begun" / "unfinished.json").write_text(json.dumps(identity))
    return home


class Context:
    default_map = None


def use_card(folder):
    run = Run.open(folder)
    assert isinstance(run.protocol.name, str)
    seen_behind(folder)
    assert page.commands([run], "")
    assert page.facts([run], PreparedDataset.open(folder.parents[2] / "data" / "made"))


def use_model(folder):
    opened = open_model(folder, device="cpu", runtime="torch")
    faces = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    neutrals = faces if opened.classifier.paired else None
    assert opened.classifier.probabilities(faces, neutrals).shape == (1, len(opened.classifier.classes))
    json.dumps(_metadata(Run.open(folder), opened.classifier))


def use_evaluation(folder):
    StoredEvaluation.open(folder)
    refuse_foreign(folder / "evaluation")


def use_begun(folder):
    found = interrupted(folder)
    assert found is None or found["recipe"] is not None
    will_resume({}, folder)
    if found is not None:
        defaults_from_unfinished(Context(), DifferenceRecipe, folder)


#: By document, what reads it.
READERS = {
    "runs/cv/fold0/run.json": lambda home: use_card(home / "runs/cv/fold0"),
    "runs/cv/fold0/config.json": lambda home: use_model(home / "runs/cv/fold0"),
    "runs/cv/fold0/preprocessor_config.json": lambda home: use_model(home / "runs/cv/fold0"),
    "runs/cv/fold0/evaluation/metrics.json": lambda home: use_evaluation(home / "runs/cv/fold0"),
    "runs/cv/cross-validation.json": lambda home: CrossValidation.open(home / "runs/cv").protocol,
    "variants/comparison.json": lambda home: variants(home / "variants"),
    "begun/unfinished.json": lambda home: use_begun(home / "begun"),
}
CONFIGS = ("runs/cv/fold0/run.json", "runs/cv/cross-validation.json")


def places(value, path=()):
    """Every place in a document, the whole included."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def changed(document, path, value, *, remove):
    if not path:
        return value
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


def read_changed(home, name, data, read):
    path = home / name
    before = path.read_text()
    document = json.loads(before)
    place = data.draw(st.sampled_from(list(places(document))))
    document = changed(document, place, data.draw(STRANGE), remove=bool(place) and data.draw(st.booleans()))
    try:
        path.write_text(json.dumps(document))
        read(home)
    except FerError:
        # That is a sentence; any other exception is a fault.
        pass
    finally:
        path.write_text(before)


CHANGED = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", READERS)
@CHANGED
@given(data=st.data())
def test_a_changed_document_is_read_or_refused(home, name, data):
    READERS[name](home)
    read_changed(home, name, data, READERS[name])


@pytest.mark.parametrize("name", CONFIGS)
@CHANGED
@given(data=st.data())
def test_a_changed_record_is_repeated_or_refused(home, name, data):
    read_changed(home, name, data, lambda home: defaults_from_file(Context(), DifferenceRecipe, home / name))


@pytest.mark.parametrize("name", [*READERS, *(f"config:{name}" for name in CONFIGS)])
@pytest.mark.parametrize(
    "text", ['{"a":' * 100_000 + "1" + "}" * 100_000, "[" * 100_000, "", "\0", "\ufeff", '"', "NaN"]
)
def test_what_is_no_such_document_is_refused(home, name, text):
    config = name.startswith("config:")
    path = home / name.removeprefix("config:")
    before = path.read_text()
    try:
        path.write_text(text)
        if config:
            with pytest.raises(UsageError):
                defaults_from_file(Context(), DifferenceRecipe, path)
        elif path.name in ("comparison.json", "unfinished.json"):
            assert not READERS[name](home)
        else:
            with pytest.raises((RunError, ModelError)):
                READERS[name](home)
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("fold",), "one", r"Expected `int`, got `str` - at `\$.fold`"),
        (("seen",), ["A"], r"Expected `object`, got `array` - at `\$.seen`"),
        (("dataset", "path"), 7, r"Expected `str`, got `int` - at `\$.dataset.path`"),
        (("recipe", "encoder"), [], r"at `\$.recipe.encoder`"),
        (("version",), 10**30, "version"),
    ],
)
def test_the_field_its_type_and_what_was_expected_are_named(home, place, value, said):
    folder = home / "runs" / "cv" / "fold1"
    before = (folder / "run.json").read_text()
    try:
        (folder / "run.json").write_text(json.dumps(changed(json.loads(before), place, value, remove=False)))
        with pytest.raises(RunError, match=said):
            Run.open(folder)
    finally:
        (folder / "run.json").write_text(before)


def test_a_broken_run_among_others_is_no_hindrance(home, tmp_path, monkeypatch):
    from fer_cli.training.recipes.disentangled import DisentangledRecipe

    monkeypatch.chdir(tmp_path)
    for name, text in (("deep", "[" * 100_000), ("empty", "{}"), ("list", "[]")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text(text)
    dataset = PreparedDataset.open(home / "data" / "made")
    with pytest.raises(RunError, match="no run of stage 1"):
        choose.stage_1(DisentangledRecipe(stage=2), dataset, folds=False)
    with pytest.raises(RunError, match="is not what fer wrote"):
        open_any(tmp_path / "runs" / "list")
    shutil.rmtree(tmp_path / "runs")
