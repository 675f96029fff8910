import pandas as pd
import pytest

from fer_cli.errors import DatasetError, UsageError
from fer_cli.evaluation.subgroups import read_attributes, spelled_as


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


def test_case_06_a_table_from_excel_is_read_in_its_encoding_and_with_its_delimiter(tmp_path):
    path = tmp_path / "subjects.csv"
    path.write_text("Subject; Gender \r\n001;weiblich\r\n", encoding="utf-16", newline="")
    assert read_attributes(path, ["Gender"]).loc["001"].to_dict() == {"Gender": "weiblich"}


def spelled(table: list[str], tested: list[str]) -> list[str]:
    return spelled_as(pd.DataFrame({"x": range(len(table))}, index=table), tested).index.tolist()


@pytest.mark.parametrize(
    ("table", "tested", "index"),
    [
        (["1", "2", "10"], ["001", "002", "010"], ["001", "002", "010"]),
        (["001"], ["1"], ["1"]),
        (["0"], ["000"], ["000"]),
        (["1", "001"], ["1", "001"], ["1", "001"]),
        (["1"], ["01", "001"], ["1"]),
        (["1", "01"], ["001"], ["1", "01"]),
        (["S1"], ["S001"], ["S1"]),
        (["Ju\u0308rgen"], ["J\u00fcrgen"], ["J\u00fcrgen"]),
        (["J\u00fcrgen"], ["Ju\u0308rgen"], ["Ju\u0308rgen"]),
    ],
)
def test_case_28_zeros_that_excel_lost_are_given_back_where_one_subject_can_be_meant(table, tested, index):
    assert spelled(table, tested) == index


def test_the_table_of_the_london_faces(shared):
    found = read_attributes(shared / "data" / "london" / "subjects.csv", ["gender", "ethnicity"])
    assert len(found) == 102
    assert set(found["gender"]) == {"female", "male"}
    assert found.loc["001", "ethnicity"] == "white"


def test_the_same_row_twice_is_one_and_a_contradiction_is_refused_by_name(tmp_path):
    path = written(tmp_path, "subject,gender,room\nA,female,1\nA,female,2\n")
    assert read_attributes(path, ["gender"]).loc["A", "gender"] == "female"
    with pytest.raises(DatasetError, match="two values for A"):
        read_attributes(path, ["room"])


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("who,gender\nA,female\n", DatasetError, "columns are who, gender"),
        ("subject,age\nA,3\n", UsageError, "no such column"),
        ("", DatasetError, "cannot be read"),
        ('subject,gender\n"A,female\n', DatasetError, "no table from line 2"),
        ("subject,gender\nA\n", DatasetError, "line 2: a row of 1 values under 2 columns"),
        ("subject,gender\nA,x,y\n", DatasetError, "line 2: a row of 3 values under 2 columns"),
        ("subject,gender\nA,\0\n", DatasetError, "zero byte"),
        ("subject,Gender,gender\nA,x,y\n", DatasetError, "'gender' twice"),
    ],
)
def test_what_is_no_such_table_is_told(tmp_path, text, kind, said):
    with pytest.raises(kind, match=said):
        read_attributes(written(tmp_path, text), ["gender"])


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DatasetError, match="No such file"):
        read_attributes(tmp_path / "nowhere.csv", ["gender"])
