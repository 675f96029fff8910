from fer_cli.evaluation.report.page import PUBLISHED, published_on


def test_those_on_the_corpus_at_hand_come_first_and_none_is_lost():
    rows = published_on("MMI")
    assert {row.corpus for row in rows[:5]} == {"MMI"}
    assert sorted(rows) == sorted(PUBLISHED)
    assert published_on("Oulu-CASIA VIS Strong")[0].corpus == "Oulu-CASIA"


def test_every_figure_says_its_protocol_and_whether_it_was_checked():
    for row in PUBLISHED:
        assert 0 < float(row.accuracy) <= 100
        assert row.protocol
        assert row.checked in {"yes", "abstract", "no"}
