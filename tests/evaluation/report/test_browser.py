"""The report as a browser shows it: by what is on the page, in both themes, wide and narrow."""

from pathlib import Path

import pytest

from fer_cli.evaluation.analysis import AnalysisOptions, analyze
from fer_cli.evaluation.evaluate import summarize
from fer_cli.evaluation.leakage import Leakage
from fer_cli.evaluation.report.page import render
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.options import Session
from tests.browser import POLICY, asked_for, check_readable, check_silent, needs_browser
from tests.evaluation.report.conftest import made_predictions, made_run, origin_of
from tests.made import CLASSES, made_dataset, made_model

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report with everything on it."""
    folder = tmp_path_factory.mktemp("browser")
    dataset = made_dataset(folder / "data" / "made")
    runs = [made_run(folder / "runs" / f"fold{fold}", dataset, fold=fold) for fold in range(2)]
    made_model().save_pretrained(runs[0].path)
    Preprocessing(32).save(runs[0].path)
    predictions = made_predictions(dataset)
    analysis = analyze(AnalysisOptions(True, 3, True), runs[0], dataset, predictions, session=Session("cpu"))
    origin = origin_of(dataset, *runs, about=dataset.protocol.name, leakage=Leakage(("P01",)))
    evaluation = summarize(predictions, CLASSES, origin, path=folder, notes=("A note.",), analysis=analysis)
    file = folder / "report.html"
    file.write_text(render(evaluation), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_in_both_themes_wide_and_narrow(page, tmp_path, theme, width):
    found = check_readable(tmp_path, page, theme, width)
    assert found["texts"] > 200
    assert found["images"] > 10


def test_it_opens_without_a_complaint_and_no_request_leaves_it(page, tmp_path):
    shown = check_silent(tmp_path, page)
    for name in (
        "metrics",
        "confusion",
        "classes",
        "calibration",
        "misclassified",
        "saliency",
        "identity",
        "map",
        "training",
    ):
        assert f'id="{name}"' in shown
    assert shown.count('<svg class="chart"') == 7


@pytest.mark.parametrize("guarded", [True, False])
def test_a_page_that_asks_is_caught_by_that(page, tmp_path, guarded):
    # That the one above can fail. What the page's own policy forbids is not asked for, and complained of.
    text = page.read_text(encoding="utf-8").replace("</main>", '<img src="http://127.0.0.1:9/x.png" alt=""></main>')
    copy = tmp_path / "asking.html"
    copy.write_text(text if guarded else POLICY.sub("", text), encoding="utf-8")
    asked, said = asked_for(tmp_path, copy)
    assert asked == (set() if guarded else {"http://127.0.0.1:9/x.png"})
    assert ("CONSOLE" in said) == guarded
