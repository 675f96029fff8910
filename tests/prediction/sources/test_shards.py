import csv
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image, features
from pyarrow import ipc, parquet

from fer_cli.errors import PictureError, UsageError
from fer_cli.faces.decode import decode
from fer_cli.faces.video import Every
from fer_cli.prediction import run as running
from fer_cli.prediction.neutral import AutoNeutral
from fer_cli.prediction.neutral.identity import IdentityEncoder
from fer_cli.prediction.options import PredictOptions
from fer_cli.prediction.pipeline import extract_faces
from fer_cli.prediction.run import check, run
from fer_cli.prediction.sources import Input, Reading, list_inputs, open_sources, read_frames
from fer_cli.prediction.sources.shards import open_shard
from tests.prediction.made import made_pictures
from tests.prediction.neutral.test_auto import CLASSIFIER, MEAN, HowNeutral, WhoIsIt
from tests.videos import make_video, set_matrix, shades


def make_tar(path: Path, members: dict[str, bytes], **more: tarfile.TarInfo) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        for about in more.values():
            tar.addfile(about)
    return path


def make_parquet(path: Path, columns: dict, *, metadata: dict | None = None, rows: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return path


@pytest.fixture
def pictures(tmp_path) -> list[bytes]:
    return [path.read_bytes() for path in made_pictures(tmp_path / "made", 5)]


def inputs(*names, **settings) -> list[Input]:
    return list(list_inputs(open_sources(names, Reading(**settings))))


def frames(*names, **settings):
    sources = open_sources(names, Reading(**settings))
    return list(read_frames(sources, enumerate(list_inputs(sources))))


def structures(pictures: list[bytes]) -> pa.Array:
    return pa.array([{"bytes": each, "path": f"../{number}.png"} for number, each in enumerate(pictures)])


def test_a_tars_members_are_pictures_under_the_tars_name(tmp_path, pictures):
    tar = make_tar(
        tmp_path / "a.tar", {"x/1.png": pictures[0], "1.json": b"{}", "2.PNG": pictures[1], "bare": pictures[2]}
    )
    found = frames(tar)
    assert [str(frame.path) for frame in found] == [f"{tar}/x/1.png", f"{tar}/2.PNG", f"{tar}/bare"]
    assert [frame.data for frame in found] == pictures[:3]


def test_links_devices_hidden_members_and_folders_of_a_tar_are_ignored(tmp_path, pictures):
    def special(name: str, kind: bytes) -> tarfile.TarInfo:
        about = tarfile.TarInfo(name)
        about.type, about.linkname = kind, "/etc/passwd"
        return about

    kinds = {"SYMTYPE": "l.png", "LNKTYPE": "h.png", "CHRTYPE": "c.png", "FIFOTYPE": "f.png", "DIRTYPE": "d.png"}
    members = {"a.png": pictures[0], "._a.png": b"litter", ".hidden/b.png": pictures[1]}
    more = {name: special(name, getattr(tarfile, kind)) for kind, name in kinds.items()}
    tar = make_tar(tmp_path / "a.tar", members, **more)
    assert [str(each.path) for each in inputs(tar)] == [f"{tar}/a.png"]


def test_a_member_that_leads_out_of_the_tar_is_a_name_and_opens_nothing_else(tmp_path, pictures):
    tar = make_tar(tmp_path / "a.tar", {"../../up.png": pictures[0], "/etc/passwd.png": pictures[1]})
    found = frames(tar)
    assert [str(frame.path) for frame in found] == [f"{tar}/../../up.png", f"{tar}/etc/passwd.png"]
    assert [frame.data for frame in found] == pictures[:2]


@pytest.mark.parametrize("kept", [1.5, 2.0, 2.5])
def test_of_a_tar_that_is_cut_the_pictures_before_the_cut_are_read_and_one_row_names_it(tmp_path, pictures, kept):
    tar = make_tar(tmp_path / "a.tar", {f"{number}.png": pictures[number] for number in range(4)})
    with tarfile.open(tar) as whole:
        starts = [member.offset for member in whole]
    begin = int(kept)
    at = starts[begin] + int((kept - begin) * (starts[begin + 1] - starts[begin]))
    tar.write_bytes(tar.read_bytes()[:at])
    *before, cut = frames(tar)
    assert [frame.data for frame in before] == pictures[:begin]
    assert cut.path == tar
    assert "cut short" in cut.problem
    assert f"{begin}.png" in cut.problem or f"{begin - 1}.png" in cut.problem


def test_a_tar_damaged_in_the_middle_does_not_end_there_without_a_word(tmp_path, pictures):
    tar = make_tar(tmp_path / "a.tar", {f"{number}.png": pictures[number] for number in range(3)})
    with tarfile.open(tar) as whole:
        second = whole.getmember("1.png").offset
    data = bytearray(tar.read_bytes())
    data[second + 100] ^= 0xFF
    tar.write_bytes(data)
    one, cut = frames(tar)
    assert one.data == pictures[0]
    assert "damaged after '0.png'" in cut.problem


@pytest.mark.parametrize("content", [b"", b"no tar" * 1000, b"\0" * 600])
def test_what_is_no_tar_is_an_input_with_a_problem(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    (found,) = inputs(tmp_path / "a.tar")
    assert found.problem
    assert found.path == tmp_path / "a.tar"


def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"")
    assert "unpack it" in inputs(tmp_path / "a.tar.gz")[0].problem


def test_a_header_that_states_a_size_below_zero_ends_the_tar(tmp_path, pictures):
    tar = make_tar(tmp_path / "a.tar", {"0.png": pictures[0], "1.png": pictures[1]})
    data = bytearray(tar.read_bytes())
    # The field of the size in base 256 (GNU tar), of minus 1024, and the checksum for it.
    data[124:136] = b"\xff" * 10 + b"\xfc\0"
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    tar.write_bytes(data)
    assert inputs(tar)[-1].problem


def test_numbered_shards_are_written_as_a_shell_does(tmp_path, pictures):
    tars = [make_tar(tmp_path / f"s-{number:03d}.tar", {"a.png": pictures[number]}) for number in range(3)]
    assert [frame.data for frame in frames(f"{tmp_path}/s-{{000..002}}.tar")] == pictures[:3]
    assert [each.source for each in inputs(f"{tmp_path}/s-{{000,002}}.tar")] == [0, 1]
    assert [each.shard for each in inputs(f"{tmp_path}/*.tar")] == [str(tar) for tar in tars]
    with pytest.raises(PictureError, match=r"s-003\.tar"):
        inputs(f"{tmp_path}/s-{{000..003}}.tar")
    with pytest.raises(UsageError, match="stands for"):
        inputs(f"{tmp_path}/{{0..999999999}}.tar")


def test_a_folder_gives_what_is_in_its_shards_where_it_has_no_pictures(tmp_path, pictures):
    tar = make_tar(tmp_path / "in" / "b.tar", {"a.png": pictures[0]})
    rows = make_parquet(tmp_path / "in" / "deep" / "a.parquet", {"image": structures(pictures)})
    assert [each.shard for each in inputs(tmp_path / "in")] == [str(tar), *[str(rows)] * 5]
    (tmp_path / "in" / "deep" / "p.png").write_bytes(pictures[0])
    assert [each.path.name for each in inputs(tmp_path / "in")] == ["p.png"]


@pytest.mark.parametrize("kind", ["structure", "binary", "large"])
def test_a_parquet_files_rows_are_pictures_by_number(tmp_path, pictures, kind):
    column = {
        "structure": structures(pictures),
        "binary": pa.array(pictures),
        "large": pa.array(pictures, pa.large_binary()),
    }
    path = make_parquet(tmp_path / "a.parquet", {"id": range(5), "image": column[kind]})
    found = frames(path)
    assert [str(frame.path) for frame in found] == [f"{path}:{number}" for number in range(5)]
    assert [frame.data for frame in found] == pictures
    assert [each.place for each in inputs(path)] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_rows_are_read_in_any_order_by_a_source_opened_anywhere(tmp_path, pictures):
    path = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures)}, rows=3)
    listed = pickle.loads(pickle.dumps(inputs(path)))  # noqa: S301
    source = pickle.loads(pickle.dumps(open_sources([path])[0]))  # noqa: S301
    for number in (4, 0, 2, 1, 1, 3):
        (frame,) = source.frames(7, listed[number])
        assert (frame.index, frame.data) == (7, pictures[number])
    # A source that has read goes on in another process.
    assert pickle.loads(pickle.dumps(source)).name == str(path)  # noqa: S301


def test_a_table_may_name_the_person_shown(tmp_path, pictures):
    people = ["anna", None, "", "ben", "anna"]
    path = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures), "Subject": people})
    assert [frame.subject for frame in frames(path)] == ["anna", None, None, "ben", "anna"]
    path = make_parquet(tmp_path / "b.parquet", {"image": structures(pictures), "participant": range(5)})
    assert [frame.subject for frame in frames(path)] == ["0", "1", "2", "3", "4"]


def test_of_several_columns_of_bytes_the_one_of_pictures_is_read(tmp_path, pictures):
    wrong = pa.array([b"wrong"] * 5)
    path = make_parquet(tmp_path / "a.parquet", {"audio": wrong, "image": pa.array(pictures)})
    assert [frame.data for frame in frames(path)] == pictures
    about = {"info": {"features": {"shot": {"_type": "Image"}, "image": {"_type": "Value"}}}}
    stated = {"huggingface": json.dumps(about)}
    path = make_parquet(tmp_path / "b.parquet", {"image": wrong, "shot": structures(pictures)}, metadata=stated)
    assert [frame.data for frame in frames(path)] == pictures


def test_a_table_without_pictures_and_a_row_without_one_are_problems(tmp_path, pictures):
    path = make_parquet(tmp_path / "a.parquet", {"id": [1], "label": ["happy"]})
    assert "its columns are id, label" in inputs(path)[0].problem
    rows = pa.array([{"bytes": pictures[0], "path": None}, {"bytes": None, "path": "/etc/passwd"}, None])
    one, *others = frames(make_parquet(tmp_path / "b.parquet", {"image": rows}))
    assert one.data == pictures[0]
    assert [frame.problem for frame in others] == ["a row without the bytes of a picture"] * 2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_parquet_file_that_is_cut_is_a_problem(tmp_path, pictures, share):
    path = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "broken or cut short" in inputs(path)[0].problem


def test_a_parquet_file_damaged_inside_loses_no_other_row(tmp_path, pictures):
    path = make_parquet(tmp_path / "a.parquet", {"image": pa.array(pictures)}, rows=1)
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    found = frames(path)
    assert [frame.data for frame in found] == [pictures[0], None, *pictures[2:]]
    assert found[1].problem


def test_a_dataset_that_save_to_disk_wrote_is_read(tmp_path, pictures):
    datasets = pytest.importorskip("datasets")
    columns = {"image": [{"bytes": each, "path": None} for each in pictures], "person": list("abcde")}
    kinds = datasets.Features({"image": datasets.Image(), "person": datasets.Value("string")})
    made = datasets.DatasetDict({"train": datasets.Dataset.from_dict(columns, features=kinds)})
    made.save_to_disk(tmp_path / "set")
    found = frames(tmp_path / "set")
    assert [frame.data for frame in found] == pictures
    assert [frame.subject for frame in found] == list("abcde")
    assert found[4].path == tmp_path / "set" / "train" / "data-00000-of-00001.arrow:4"


@pytest.mark.parametrize("kind", [ipc.new_stream, ipc.new_file])
def test_arrow_files_of_both_kinds_are_read_batch_by_batch(tmp_path, pictures, kind):
    table = pa.table({"id": range(5), "image": structures(pictures)})
    with kind(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    listed = inputs(tmp_path / "a.arrow")
    assert [each.place for each in listed] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    (source,) = open_sources([tmp_path / "a.arrow"])
    for number in (4, 0, 3, 2):
        assert next(source.frames(0, listed[number])).data == pictures[number]
    whole = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(whole[: len(whole) // 2])
    assert inputs(tmp_path / "a.arrow")[-1].problem


def test_a_video_in_a_tar_is_sampled_upright(tmp_path):
    clip = set_matrix(make_video(tmp_path / "clip.mp4", shades(10)), (0, 1, -1, 0))
    tar = make_tar(tmp_path / "a.tar", {"clip.mp4": clip.read_bytes(), "unnamed": clip.read_bytes()})
    for video in ("clip.mp4", "unnamed"):
        *found, end = [frame for frame in frames(tar, every=Every(frames=4)) if frame.path.name == video]
        assert [(frame.number, frame.pixels.shape) for frame in found] == [
            (number, (64, 48, 3)) for number in (0, 4, 8)
        ]
        assert end.end
        assert end.problem is None


def test_heic_and_avif_and_rotation_are_decoded_from_bytes(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    picture = Image.fromarray(np.full((32, 64, 3), 200, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    members = {}
    for ending, kind in (("heic", "HEIF"), ("avif", "AVIF"), ("jpg", "JPEG")):
        if kind == "AVIF" and not features.check("avif"):
            continue
        content = io.BytesIO()
        picture.save(content, kind, exif=exif.tobytes())
        members[f"a.{ending}"] = content.getvalue()
    for frame in frames(make_tar(tmp_path / "a.tar", members)):
        assert decode(frame.data).shape == (64, 32, 3), frame.path


def test_what_a_name_says_is_not_read_is_a_problem_in_a_tar_too(tmp_path, pictures):
    (raw,) = frames(make_tar(tmp_path / "a.tar", {"a.nef": pictures[0]}))
    assert "raw file" in raw.problem


def done(classifier, *names, finder=None, **settings):
    names = list(map(str, names))
    return run(names, check(names, PredictOptions(**settings)), classifier, finder=finder)


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_a_folder_a_tar_and_a_parquet_file_of_the_same_pictures_have_the_same_rows(alone, tmp_path, pictures):
    made = tmp_path / "made"
    names = [f"{number:03d}.png" for number in range(5)]
    tar = make_tar(tmp_path / "a.tar", dict(zip(names, pictures, strict=True)))
    table = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures)})
    tables = []
    for number, source in enumerate((made, tar, table)):
        done(alone, source, out=tmp_path / f"{number}.csv")
        tables.append([{**row, "file": ""} for row in read(tmp_path / f"{number}.csv")])
    assert tables[0] == tables[1] == tables[2]
    assert [row["file"] for row in read(tmp_path / "2.csv")] == [f"{table}:{number}" for number in range(5)]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_prediction_on_a_shard_is_resumed(alone, tmp_path, pictures, monkeypatch, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        make_tar(path, {f"{number}.png": pictures[number] for number in range(5)})
    else:
        make_parquet(path, {"image": structures(pictures)})
    done(alone, path, out=tmp_path / "whole.csv")

    count = running._count
    monkeypatch.setattr(running, "_count", lambda *_: lambda result: 1 / (3 - result.frame.index))
    with pytest.raises(ZeroDivisionError):
        done(alone, path, out=tmp_path / "p.csv")
    monkeypatch.setattr(running, "_count", count)
    done(alone, path, out=tmp_path / "p.csv", resume=True)
    assert (tmp_path / "p.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_everybodys_most_neutral_picture_is_found_in_a_shard_as_in_a_folder(tmp_path, extract):
    # The first colour says who it is, the second how neutral.
    shown = [(1, 250), (1, 10), (2, 20), (2, 200), (1, 30)]
    (tmp_path / "in").mkdir()
    for number, (who, neutral) in enumerate(shown):
        Image.new("RGB", (60, 60), (who, neutral, 0)).save(tmp_path / "in" / f"{number}.png")
    paths = sorted((tmp_path / "in").iterdir())
    pictures = [path.read_bytes() for path in paths]
    tar = make_tar(tmp_path / "a.tar", {path.name: path.read_bytes() for path in paths})
    table = make_parquet(tmp_path / "a.parquet", {"image": structures(pictures)})
    served = {}
    for source in (tmp_path / "in", tar, table):
        sources = open_sources([source])
        identity = IdentityEncoder(WhoIsIt(), lambda crops: crops, 0.5, "the first colour", torch.device("cpu"))
        finder = AutoNeutral(CLASSIFIER, identity, HowNeutral(), MEAN)
        finder.fit(read_frames(sources, enumerate(list_inputs(sources))), extract)
        results = extract_faces(read_frames(sources, enumerate(list_inputs(sources))), extract)
        served[source] = [finder.neutral_for(result.frame, result.faces[0]).name for result in results]
    assert served[tmp_path / "in"] == ["mean", f"{paths[0]}", f"{paths[3]}", "mean", f"{paths[0]}"]
    assert served[tar] == ["mean", f"{tar}/0.png", f"{tar}/3.png", "mean", f"{tar}/0.png"]
    assert served[table] == ["mean", f"{table}:0", f"{table}:3", "mean", f"{table}:0"]


def test_sinks_write_inside_their_folders_whatever_a_members_name_is(alone, tmp_path, pictures):
    clip = make_video(tmp_path / "clip.mp4", shades(6))
    names = ["../../up.png", "/etc/x.png", "a b.png", "noend"]
    members = {**dict(zip(names, pictures, strict=False)), "v/clip.mp4": clip.read_bytes()}
    tar = make_tar(tmp_path / "in" / "a.tar", members)
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    folders = {name: tmp_path / "out" / name for name in ("annotate", "crops", "sort_into")}
    done(alone, tar, out=tmp_path / "out" / "p.csv", every="3", **folders)
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before
    drawn = sorted(path.name for path in folders["annotate"].iterdir())
    assert drawn == ["000000-up.jpg", "000001-x.jpg", "000002-a_b.jpg", "000003-noend.jpg", "000004-clip.mp4"]
    assert len(list(folders["crops"].iterdir())) == 6
    sorted_into = {path.name: path for path in folders["sort_into"].rglob("*.png")}
    assert sorted(sorted_into) == ["000000-up.png", "000001-x.png", "000002-a_b.png", "000003-noend.png"]
    assert not any(path.is_symlink() for path in sorted_into.values())
    assert sorted_into["000001-x.png"].read_bytes() == pictures[1]


def test_a_shard_closes_what_it_could_not_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(PictureError, match="broken or cut short"):
        open_shard(tmp_path / "a.parquet")
