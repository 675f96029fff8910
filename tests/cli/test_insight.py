from io import StringIO

import pandas as pd
from rich.console import Console
from typer.testing import CliRunner

from fer_cli.cli.app import app
from fer_cli.cli.insight import probe_table
from fer_cli.errors import RunError
from fer_cli.evaluation.insight import NOTHING_ASKED, Asked, Insight


def test_the_probe_stands_beside_chance_on_a_narrow_terminal():
    row = {"chance": 0.25, "auc": 0.75, "eer": 0.3, "subjects": 4, "pictures": 84}
    probes = pd.DataFrame(
        [
            {"fold": 0, "embedding": "emotion encoder", "named": (0.7, 0.7, 0.7, 0.7), **row},
            {"fold": 1, "embedding": "emotion encoder", "named": (0.7, 0.7, 0.7, 0.7), **row},
        ]
    )
    console = Console(width=80, record=True, file=StringIO())
    console.print(probe_table(Insight(probes)))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[0] == ["identity", "in", "the", "identified", "AUC", "EER", "people", "faces"]
    assert lines[1] == ["emotion", "encoder", "70.0", "[70.0,", "70.0]", "0.750", "30.0", "8", "168"]
    assert lines[2] == ["by", "chance", "25.0", "0.500", "50.0"]


def test_what_is_typed_is_what_is_asked(monkeypatch):
    heard = {}

    def judge(run, data, **settings):
        heard.update(settings)
        raise RunError("heard")

    monkeypatch.setattr("fer_cli.cli.evaluate.judge", judge)
    monkeypatch.setattr("fer_cli.cli.choose.run", lambda path: path)
    monkeypatch.setattr("sys.argv", ["fer", "evaluate", "my run", "--explain", "3"])
    assert CliRunner().invoke(app, ["evaluate", "my run", "--explain", "3", "--map", "--identity-probe"]).exit_code == 1
    assert heard["asked"] == Asked(identity_probe=True, explanations=3, embedding_map=True)
    assert heard["command"] == "fer evaluate 'my run' --explain 3"
    assert CliRunner().invoke(app, ["evaluate", "my run", "--explain", "-1"]).exit_code == 2
    CliRunner().invoke(app, ["evaluate", "my run"])
    assert heard["asked"] == NOTHING_ASKED
