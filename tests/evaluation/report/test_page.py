import base64
import io
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fer_cli.dataset.tensors import Crops
from fer_cli.errors import DatasetError
from fer_cli.evaluation.analysis import AnalysisOptions, analyze
from fer_cli.evaluation.evaluate import summarize
from fer_cli.evaluation.report.page import PUBLISHED, render, write_report
from fer_cli.evaluation.results import REPORT
from fer_cli.models.preprocessing import Preprocessing
from fer_cli.options import Session
from tests.evaluation.report.conftest import HOSTILE, Page, made_predictions, made_run, origin_of
from tests.made import CLASSES, made_model


@pytest.fixture
def page(reported) -> Page:
    return reported[3]


def test_it_is_one_file_that_asks_for_nothing(page):
    for tag, attributes, _ in page.all(*{name for name, _, _ in page.tags}):
        assert tag not in {"script", "link", "iframe", "object", "embed", "form", "base"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "xlink:href", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,")), (tag, name)
    style = " ".join(page.text("style"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [found["content"] for _, found, _ in page.all("meta") if "http-equiv" in found]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_whatever_a_dataset_holds_is_shown_as_text(page):
    assert HOSTILE not in page.html
    assert not [found for _, found, _ in page.all("img") if found.get("src") == "x"]
    assert f"first {HOSTILE}" in page.text("h1")[0]
    assert HOSTILE in page.classed("about")[0]
    assert f"A note {HOSTILE}" in page.classed("notes")[0]
    assert HOSTILE in page.classed("stamp")[0]


def test_it_can_be_read_without_seeing_it(page):
    assert [found["lang"] for _, found, _ in page.all("html")] == ["en"]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("header")) == 1
    ids = [found["id"] for _, found, _ in page.all(*{name for name, _, _ in page.tags}) if "id" in found]
    assert len(ids) == len(set(ids))
    for tag, found, _ in page.all(*{name for name, _, _ in page.tags}):
        assert set(found.get("aria-labelledby", "").split()) <= set(ids)
        if tag == "a":
            assert found["href"].removeprefix("#") in ids
        if tag == "th":
            assert found["scope"] in {"row", "col"}
        if tag == "img":
            assert found["alt"]
        if tag == "svg":
            assert found.get("aria-hidden") == "true" or (found["role"] == "img" and found["aria-labelledby"])
        if found.get("tabindex") == "0" and tag == "div":
            assert found["role"] == "region"
            assert found["aria-labelledby"]
    assert len(page.all("caption")) == len(page.all("table")) >= 5
    levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_stamp_is_above_all_else_and_only_where_it_was_insisted(reported):
    dataset, run, evaluation, page = reported
    names = [found.get("class") for tag, found, _ in page.all("p", "h1")]
    assert names[0] == "stamp"
    assert page.classed("stamp")[0].startswith("The model was trained on 2 subjects of this test (P01, ")
    assert "@top-center" in page.html
    plain = Page(render(replace(evaluation, provenance=origin_of(dataset, run))))
    assert not plain.classed("stamp")
    assert "@top-center" not in plain.html


def test_every_measure_is_there_with_its_interval(reported):
    _, _, evaluation, page = reported
    cells = page.text("td")
    for name in ("accuracy", "unweighted_average_recall", "macro_f1", "weighted_f1", "ece"):
        value, low, high = evaluation.metrics.loc[name, ["value", "low", "high"]]
        assert f"{value:.1%} {100 * low:.1f} to {100 * high:.1f}" in cells
    for name in ("kappa", "roc_auc"):
        value, low, high = evaluation.metrics.loc[name, ["value", "low", "high"]]
        assert f"{value:.3f} {low:.3f} to {high:.3f}" in cells
    for name in CLASSES:
        for what in ("precision", "recall", "f1"):
            assert f"{evaluation.per_class.loc[name, what]:.1%}" in " ".join(cells)
    assert page.classed("figure")[0] == f"{evaluation.value():.1%}"
    chance = f"By guessing at most, with 95% probability: accuracy {evaluation.chance['accuracy']:.1%}, unweighted"
    assert any(text.startswith(chance) for text in page.text("p"))


def test_by_sequence_stands_beside_by_frame(reported):
    dataset, run, evaluation, _ = reported
    # Two frames of each sequence.
    predictions = pd.concat([evaluation.predictions, made_predictions(dataset, seed=1)], ignore_index=True)
    summary = summarize(predictions, CLASSES, origin_of(dataset, run), path=dataset.path)
    page = Page(render(summary))
    assert "by sequence, majority vote" in page.text("th")
    value, low, high = summary.by_sequence["vote"].loc["accuracy", ["value", "low", "high"]]
    assert f"{value:.1%} {100 * low:.1f} to {100 * high:.1f}" in page.text("td")
    assert "nan" not in page.html


def test_weighted_by_agreement_stands_beside_by_frame(reported):
    dataset, run, evaluation, before = reported
    assert "agreement" not in before.html
    predictions = evaluation.predictions.assign(agreement=0.9, votes_predicted=0.25)
    predictions.loc[:9, "agreement"] = 0.5
    summary = summarize(predictions, CLASSES, origin_of(dataset, run), path=dataset.path)
    page = Page(render(summary))
    assert any(
        text.startswith("Every metric by frame and weighted by agreement, with") for text in page.text("caption")
    )
    assert "weighted by agreement" in page.text("th")
    value, low, high = summary.agreement.metrics.loc["accuracy", ["value", "low", "high"]]
    assert f"{value:.1%} {100 * low:.1f} to {100 * high:.1f}" in page.text("td")
    assert any("has, is 25.0% (25.0 to 25.0)" in text for text in page.text("p"))
    assert any(text.startswith("Metrics by agreement") for text in page.text("caption"))
    assert not any("Gaps" in text for text in page.text("caption"))


def test_the_matrix_holds_the_counts_and_their_shares(reported):
    _, _, evaluation, page = reported
    counts = evaluation.confusion.to_numpy()
    shown = [(found["class"], text) for _, found, text in page.all("td") if found.get("class") in {"right", "wrong"}]
    assert len(shown) == 2 * counts.size
    assert [int(text.replace("·", "0")) for _, text in shown[: counts.size]] == counts.ravel().tolist()
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert [text for _, text in shown[counts.size :]] == [f"{share:.0%}" if share else "·" for share in shares.ravel()]
    assert [kind for kind, _ in shown[: counts.size]] == ["right", "wrong", "wrong", "wrong"] * 2 + ["right"]


def test_the_most_confident_mistakes_show_neutral_and_target_side_by_side(reported):
    dataset, _, evaluation, page = reported
    table = evaluation.predictions
    worst = table[table["label"] != table["predicted"]].sort_values("confidence", ascending=False)
    first = worst.iloc[0]
    captions = [text for text in page.text("figcaption") if " predicted as " in text]
    assert captions[0].startswith(
        f"{first['label']} predicted as {first['predicted']}, confidence {first['confidence']:.1%}"
    )
    assert len(captions) == min(12, len(worst))
    pictures = [found["src"] for _, found, _ in page.all("img")][:2]
    neutral = dataset.metadata.set_index("file_name")["neutral_file_name"][first["file_name"]]
    for source, name in zip(pictures, (neutral, first["file_name"]), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            shown = np.asarray(picture.convert("RGB"), dtype=float)
        crop = Crops(dataset.path)[name].permute(1, 2, 0).numpy()
        assert shown.shape == crop.shape
        assert np.abs(shown - crop).mean() < 12


def test_how_to_repeat_it_is_there(reported):
    dataset, run, _, page = reported
    lines = page.text("pre")
    assert lines[0] == "fer train difference --seed 7"
    assert lines[1] == f"fer train difference --config {run.path / 'run.json'}"
    assert lines[2] == "fer evaluate first"
    facts = " ".join(page.classed("facts"))
    for word in (dataset.fingerprint, "seed 7", "torch 9.9", "CPU, float32"):
        assert word in facts


def test_published_results_bear_their_protocols(page):
    rows = page.text("tr")
    for each in PUBLISHED:
        assert any(
            text.startswith(f"{each.method} {each.corpus}") and each.accuracy in text and each.protocol in text
            for text in rows
        ), each


def test_a_cross_validation_has_the_history_of_every_fold(reported, tmp_path):
    dataset, _, evaluation, _ = reported
    runs = [made_run(tmp_path / "cv" / f"fold{fold}", dataset, fold=fold) for fold in range(3)]
    page = Page(render(replace(evaluation, provenance=origin_of(dataset, *runs, title="cv"))))
    titles = page.text("title")
    assert "training, fold2" in titles
    assert "validation, mean of 3 runs" in titles
    assert f"fer train difference --config {tmp_path / 'cv' / 'cross-validation.json'} --cv" in page.text("pre")


def test_what_was_asked_for_is_on_the_page_and_else_is_not(reported):
    dataset, run, _, page = reported
    assert not {"saliency", "identity", "map", "groups"} & {found.get("id") for _, found, _ in page.all("h2")}
    made_model().save_pretrained(run.path)
    Preprocessing(32).save(run.path)
    predictions = made_predictions(dataset)
    analysis = analyze(AnalysisOptions(True, 4, True), run, dataset, predictions, session=Session("cpu"))
    origin = origin_of(dataset, run, title="asked")
    summary = summarize(predictions, CLASSES, origin, path=dataset.path, analysis=analysis)
    found = Page(render(summary))
    assert {"saliency", "identity", "map"} <= {attributes.get("id") for _, attributes, _ in found.all("h2")}
    assert found.text("span").count("Grad-CAM") == 4
    rows = [text for text in found.text("tr") if text.startswith(("emotion encoder", "difference vector", "by chance"))]
    probe = analysis.probes_over_folds().iloc[0]
    named = f"{probe.identification:.1%} {100 * probe.low:.1f} to {100 * probe.high:.1f}"
    assert rows[0] == f"emotion encoder {named} {probe.auc:.3f} {probe.eer:.1%} 9 27"
    assert rows[2].startswith("by chance 11.1% 0.500 50.0%")
    assert "Emotion encoder, by person" in found.text("title")


def test_a_picture_that_is_gone_leaves_a_page_without_it(reported, monkeypatch):
    def gone(self, name):
        raise DatasetError(f"The crop {name} cannot be read.")

    dataset, run, evaluation, _ = reported
    monkeypatch.setattr(Crops, "__getitem__", gone)
    page = Page(render(replace(evaluation, provenance=origin_of(dataset, run))))
    assert not page.all("img")
    assert "not shown" in page.classed("none")


def test_it_is_written_into_the_evaluations_folder(reported):
    dataset, run, evaluation, _ = reported
    write_report(replace(evaluation, provenance=origin_of(dataset, run)))
    written = (evaluation.path / REPORT).read_text(encoding="utf-8")
    assert written.startswith("<!doctype html>")
    assert len(written) < 500_000


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance of ``#rrggbb``."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_aa_asks_for(page, theme):
    style = " ".join(page.text("style"))
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in style.split("prefers-color-scheme: dark")
    )
    colours = light if theme == "light" else {**light, **dark}
    assert set(dark) == set(light)

    def contrast(one: str, other: str) -> float:
        lighter, darker = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (lighter + 0.05) / (darker + 0.05)

    for text in ("text", "muted", "accent"):
        assert contrast(text, "page") >= 4.5
        assert contrast(text, "panel") >= 4.5
    assert min(contrast("text", "right"), contrast("text", "wrong"), contrast("on-stamp", "stamp")) >= 4.5
    # Marks, lines and bars are not text.
    assert min(contrast(f"c{number}", "page") for number in range(8)) >= 3


def test_groups_have_their_measures_and_the_gaps_between_them(reported):
    dataset, run, evaluation, _ = reported
    people = sorted(evaluation.predictions["subject"].unique())
    attributes = pd.DataFrame({"gender": ["f", "m", HOSTILE] * 3}, index=people)
    origin = origin_of(dataset, run)
    summary = summarize(evaluation.predictions, CLASSES, origin, path=dataset.path, attributes=attributes)
    page = Page(render(summary))
    assert HOSTILE not in page.html
    captions = page.text("caption")
    assert [text.partition(",")[0] for text in captions if "gender" in text] == [
        "Metrics by gender",
        "Gaps between groups of gender",
    ]
    found = summary.groups.set_index(["group", "measure"]).loc[("f", "accuracy")]
    (row,) = [text for text in page.text("tr") if text.startswith("f too few for a conclusion")]
    assert row.startswith(
        f"f too few for a conclusion 3 9 {found.value:.1%} {100 * found.low:.1f} to {100 * found.high:.1f}"
    )
    gap = summary.gaps.set_index(["group", "other", "measure"]).loc[("f", "m", "accuracy")]
    (row,) = [text for text in page.text("tr") if text.startswith("f less m")]
    assert row.startswith(f"f less m {100 * gap.difference:+.1f} ".replace("-", "−"))
