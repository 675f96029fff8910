"""A report made without a training: predictions and a run by hand, on the made dataset."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_cli.evaluation.evaluate import summarize
from fer_cli.evaluation.leakage import Leakage
from fer_cli.evaluation.report.page import render
from fer_cli.evaluation.results import Provenance
from fer_cli.runs.run import Run
from tests.made import CLASSES, made_dataset, run_card

HOSTILE = "<img src=x onerror=alert(1)>"
VOID = {"meta", "img", "br", "link", "input"}

NO_LEAKAGE = Leakage()


class Page(HTMLParser):
    """A page taken apart: ``tags`` are (name, attributes, text inside) in order."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        assert not self._open, f"not closed: {[self.tags[place][0] for place in self._open]}"

    def handle_starttag(self, tag, attributes):
        # What stands in cells or lines of their own is not one word.
        self.handle_data(" ")
        self.tags.append((tag, dict(attributes), []))
        if tag not in VOID:
            self._open.append(len(self.tags) - 1)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self.tags[self._open[-1]][0] == tag, f"</{tag}> closes <{self.tags[self._open[-1]][0]}>"
        self._open.pop()

    def handle_data(self, data):
        for place in self._open:
            self.tags[place][2].append(data)

    def all(self, *names: str) -> list[tuple[str, dict[str, str], str]]:
        """The elements of these names, each with its attributes and the text inside."""
        return [
            (tag, attributes, " ".join("".join(text).split())) for tag, attributes, text in self.tags if tag in names
        ]

    def text(self, name: str) -> list[str]:
        return [text for _, _, text in self.all(name)]

    def classed(self, name: str) -> list[str]:
        """The texts of the elements of this class."""
        return [
            " ".join("".join(text).split())
            for _, attributes, text in self.tags
            if name in (attributes.get("class") or "").split()
        ]


def made_predictions(dataset, *, seed: int = 0) -> pd.DataFrame:
    """Predictions for every pair, right for about two in three."""
    generator = np.random.default_rng(seed)
    rows = dataset.samples(paired=True)
    table = rows[["file_name", "subject", "sequence", "fold", "label"]].reset_index(drop=True)
    truth = np.array([CLASSES.index(name) for name in table["label"]])
    shares = generator.dirichlet([1, 1, 1], len(table)) + 0.5 * np.eye(3)[truth]
    shares /= shares.sum(axis=1, keepdims=True)
    table["predicted"] = [CLASSES[place] for place in shares.argmax(axis=1)]
    table["confidence"] = shares.max(axis=1)
    for place, name in enumerate(CLASSES):
        table[f"p_{name}"] = shares[:, place]
    return table


def made_run(folder: Path, dataset, *, fold: int = 0) -> Run:
    """A run that was never trained: its card and its history."""
    folder.mkdir(parents=True)
    card = run_card(
        command="fer train difference --seed 7",
        recipe={"seed": 7, "epochs": 3, "fold": fold, "encoder": "scratch"},
        fold=fold,
        protocol=dataset.protocol.to_dict(),
        dataset={
            "path": str(dataset.path),
            "name": dataset.name,
            "corpus": "made",
            "fingerprint": dataset.fingerprint,
        },
        best={"epoch": 2, "val_loss": 0.9, "val_accuracy": 0.6},
        device="CPU",
        precision="float32",
        versions={"fer": "0.0", "torch": "9.9"},
    )
    (folder / "run.json").write_text(json.dumps(card))
    (folder / "epochs.csv").write_text(
        "epoch,loss,val_loss,val_accuracy\n1,1.2,1.1,0.4\n2,1.0,0.9,0.6\n3,0.8,1.0,0.5\n"
    )
    return Run.open(folder)


def origin_of(dataset, *runs, title: str = "t", about: str = "", leakage=NO_LEAKAGE, command: str = "") -> Provenance:
    """What an evaluation of ``runs`` on ``dataset`` says of where it comes from."""
    return Provenance(title, about, dataset.protocol, dataset, runs, leakage, command)


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """A dataset, a run on it, its evaluation, and the report of it, in which names are hostile and subjects known."""
    folder = tmp_path_factory.mktemp("report")
    dataset = made_dataset(folder / "data" / "made")
    run = made_run(folder / "runs" / "first", dataset)
    predictions = made_predictions(dataset).replace({"subject": {"P03": HOSTILE}})
    origin = origin_of(
        dataset,
        run,
        title=f"first {HOSTILE}",
        about=f"Made & {HOSTILE}",
        leakage=Leakage(("P01", HOSTILE)),
        command="fer evaluate first",
    )
    evaluation = summarize(predictions, CLASSES, origin, path=folder, notes=(f"A note {HOSTILE}",))
    return dataset, run, evaluation, Page(render(evaluation))
