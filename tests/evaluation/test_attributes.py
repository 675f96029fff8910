import pytest

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.attributes import read_attributes


def written(tmp_path, text: str):
    path = tmp_path / "subjects.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_of_subjects_is_read_as_text(tmp_path):
    path = written(tmp_path, "subject,age,gender\n001,24, female\n002,,male\n")
    found = read_attributes(path, ["gender", "age"])
    assert found.loc["001"].tolist() == ["female", "24"]
    assert found["age"].isna().tolist() == [False, True]


@pytest.mark.parametrize("key", ["Subject", "participant_id", "ID", "\ufeffsubject"])
def test_the_subjects_column_has_several_names(tmp_path, key):
    assert read_attributes(written(tmp_path, f"{key},gender\nA,female\n"), ["gender"]).index.tolist() == ["A"]


def test_the_table_of_the_london_faces(shared):
    found = read_attributes(shared / "data" / "london" / "subjects.csv", ["gender", "ethnicity"])
    assert len(found) == 102
    assert set(found["gender"]) == {"female", "male"}
    assert found.loc["001", "ethnicity"] == "white"


def test_the_same_row_twice_is_one_and_a_contradiction_is_refused_by_name(tmp_path):
    path = written(tmp_path, "subject,gender,room\nA,female,1\nA,female,2\n")
    assert read_attributes(path, ["gender"]).loc["A", "gender"] == "female"
    with pytest.raises(DatasetError, match="two things of A"):
        read_attributes(path, ["room"])


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("who,gender\nA,female\n", DatasetError, "columns are who, gender"),
        ("subject,age\nA,3\n", UsageError, "no such column"),
        ("", DatasetError, "cannot be read"),
        ('subject,gender\n"A,female\n', DatasetError, "cannot be read"),
    ],
)
def test_what_is_no_such_table_is_told(tmp_path, text, kind, said):
    with pytest.raises(kind, match=said):
        read_attributes(written(tmp_path, text), ["gender"])


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DatasetError, match="No such file"):
        read_attributes(tmp_path / "nowhere.csv", ["gender"])
