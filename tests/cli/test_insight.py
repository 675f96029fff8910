from io import StringIO

import pandas as pd
from rich.console import Console
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.cli.figures import probe_table
from fer_cli.errors import RunError
from fer_cli.evaluation.analysis import Analysis, AnalysisOptions


def test_the_probe_stands_beside_chance_on_a_narrow_terminal():
    row = {"chance": 0.25, "auc": 0.75, "eer": 0.3, "subjects": 4, "pictures": 84}
    probes = pd.DataFrame(
        [
            {"fold": 0, "embedding": "emotion encoder", "named": (0.7, 0.7, 0.7, 0.7), **row},
            {"fold": 1, "embedding": "emotion encoder", "named": (0.7, 0.7, 0.7, 0.7), **row},
        ]
    )
    console = Console(width=80, record=True, file=StringIO())
    console.print(probe_table(Analysis(probes)))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[0] == ["identity", "in", "the", "identified", "AUC", "EER", "people", "faces"]
    assert lines[1] == ["emotion", "encoder", "70.0", "[70.0,", "70.0]", "0.750", "30.0", "8", "168"]
    assert lines[2] == ["by", "chance", "25.0", "0.500", "50.0"]


def test_what_is_typed_is_what_is_asked(monkeypatch):
    heard = {}

    def evaluate(run, options, session):
        heard.update(options=options, session=session)
        raise RunError("heard")

    monkeypatch.setattr("fer_cli.evaluation.evaluate.evaluate", evaluate)
    monkeypatch.setattr("fer_cli.cli.choose.run", lambda path: path)
    monkeypatch.setattr("sys.argv", ["fer", "evaluate", "my run", "--explain", "3"])
    assert CliRunner().invoke(app, ["evaluate", "my run", "--explain", "3", "--map", "--identity-probe"]).exit_code == 1
    assert heard["options"].analysis == AnalysisOptions(identity_probe=True, explanations=3, embedding_map=True)
    assert heard["session"].command == "fer evaluate 'my run' --explain 3"
    assert CliRunner().invoke(app, ["evaluate", "my run", "--explain", "-1"]).exit_code == 2
    CliRunner().invoke(app, ["evaluate", "my run"])
    assert heard["options"].analysis == AnalysisOptions()
