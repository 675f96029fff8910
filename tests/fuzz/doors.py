"""Every door by which something from outside comes in: how a valid input is made, and what reads it."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

from tests.corpora.test_every_corpus import TREES, written
from tests.fuzz.watch import fer
from tests.made import made_dataset
from tests.prediction.made import made_pictures
from tests.prediction.runs import write_run
from tests.videos import make_video, shades


@dataclass(frozen=True)
class Door:
    """``make`` puts a valid input into a folder, ``target`` is the file of it that is broken, ``use`` reads it all.

    ``use`` raises :class:`~fer_cli.errors.FerError` for what is refused.
    """

    name: str
    make: Callable[[Path], None]
    target: str
    use: Callable[[Path], object]

    @property
    def json(self) -> bool:
        """Whether it holds JSON."""
        return Path(self.target).suffix in (".json", ".jsonl", ".safetensors")


def _corpus(name: str, target: str, *words: str, make: Callable[[Path], None] | None = None) -> Door:
    classes = ("--classes", "anger,happiness") if name != "files" else ()
    line = ("prepare", name, ".", "--check", "--folds", "3", *classes, *words)
    return Door(f"{name} {Path(target).name}", make or TREES[name][0], target, lambda folder: fer(*line))


def _courses(root: Path) -> None:
    TREES["mmi"][0](root)
    (root / "Sessions/0/S001-000-oao_aucs.xml").write_text(
        '<AUCS><ActionUnit Number="12"><Marker Frame="1" Type="0"/><Marker Frame="3" Type="1"/>'
        '<Marker Frame="5" Type="2"/></ActionUnit></AUCS>'
    )


def _fer2013(root: Path) -> None:
    pixels = " ".join("7" * (48 * 48))
    rows = [f"{code},{pixels},{split}" for code, split in ((0, "Training"), (3, "PublicTest"), (0, "PrivateTest"))]
    written(root / "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows, ""]))
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes = ("Training,fer0000000.png,0,0,0,0,10,0,0,0,0,0", "PublicTest,fer0000001.png,0,10,0,0,0,0,0,0,0,0")
    written(root / "fer2013new.csv", "\n".join([header, *votes, "PrivateTest,fer2.png,1,1,1,1,1,1,1,1,1,1", ""]))


def _ferplus(root: Path) -> None:
    for number, (folder, votes) in enumerate(
        (("FER2013Train", "0,9"), ("FER2013Train", "0,5"), ("FER2013Test", "8,1"))
    ):
        written(root / folder / f"fer{number}.png", "x")
        with (root / folder / "label.csv").open("a") as file:
            file.write(f'fer{number}.png,"(0, 0, 48, 48)",{votes},0,0,4,0,0,0,0,0\n')


def _affectnet_table(root: Path) -> None:
    for name in ("1/a.jpg", "1/b.jpg"):
        written(root / "Manually_Annotated_Images" / name, "x")
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    written(root / "training.csv", f"{header}\n1/a.jpg,0,0,9,9,1;2,1,0.5,0.5\n1/b.jpg,0,0,9,9,1;2,6,0.5,0.5\n")


def _photos(root: Path) -> None:
    rows = ["path,label,subject,sequence,frame,split"]
    for subject in range(3):
        for label in ("anger", "happiness", "neutral"):
            path = root / "photos" / label / f"{subject}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 40), 60 * subject).save(path)
            rows.append(f"photos/{label}/{subject}.png,{label},s{subject},,,train")
    (root / "rows.csv").write_text("\n".join(rows) + "\n")


def _landmarks(root: Path) -> None:
    (root / "a_landmarks.txt").write_text("   1.0000000e+00   2.0000000e+00\n" * 68)


def _read_landmarks(root: Path) -> None:
    from fer_cli.faces.crop import five_points, read_landmarks

    five_points(read_landmarks(root / "a_landmarks.txt"))


def _read_pixels(root: Path) -> None:
    from fer_cli.faces.decode import pixel_row

    pixel_row(root / "fer2013.csv", len("emotion,pixels,Usage\n"))


def _picture(ending: str) -> Door:
    def make(root: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"a.{ending}")

    def use(root: Path) -> None:
        from fer_cli.faces.decode import decode

        decode(root / f"a.{ending}")

    return Door(f"picture .{ending}", make, f"a.{ending}", use)


def _video(ending: str) -> Door:
    def use(root: Path) -> None:
        from fer_cli.faces.video import frames_of

        for _ in frames_of(root / f"a.{ending}"):
            pass

    return Door(
        f"video .{ending}", lambda root: make_video(root / f"a.{ending}", shades(6)) and None, f"a.{ending}", use
    )


@cache
def _a_run(features: str) -> Path:
    """A run, made once: a network takes a second."""
    folder = Path(mkdtemp(prefix="fer-fuzz-"))
    write_run(folder, features=features)
    (folder / "evil.py").write_text("open('CANARY', 'w').write('code ran')\n")
    return folder


def _run(features: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        shutil.copytree(_a_run(features), root / "run")
        made_pictures(root / "faces", 1)
        (root / "neutral.csv").write_text("subject,file\nfaces,faces/000.png\n")
        (root / "list.txt").write_text("faces/000.png\n# more\nfaces\n")
        (root / "list.csv").write_text("file,subject\nfaces/000.png,anna\n")

    return make


def _predict(name: str, target: str, *words: str, features: str = "target") -> Door:
    line = ("predict", *words, "--run", "run", "--device", "cpu", "--runtime", "torch", "--out", "p.jsonl")
    return Door(name, _run(features), target, lambda folder: fer(*line))


def _cross_validation(root: Path) -> None:
    write_run(root / "cv" / "fold0", features="target")
    card = json.loads((root / "cv" / "fold0" / "run.json").read_text())
    shown = {name: card[name] for name in ("version", "model", "recipe", "protocol", "dataset")}
    (root / "cv" / "cross-validation.json").write_text(json.dumps({**shown, "command": "", "folds": ["fold0"]}))


def _open_cross_validation(root: Path) -> None:
    from fer_cli.runs.run import open_any

    found = open_any(root / "cv")
    assert found.protocol
    assert [run.fold for run in found.runs]


def _open_dataset(root: Path) -> None:
    from fer_cli.dataset.prepared import PreparedDataset

    dataset = PreparedDataset.open(root / "data")
    assert dataset.fingerprint
    assert dataset.protocol.name
    assert int(dataset.crop["size"])
    dataset.split(0, paired=True)


def _read_journal(root: Path) -> None:
    from fer_cli.dataset.prepare import Journal

    journal = Journal(root / "data")
    journal.digest(set(journal.entries))


def _prediction(root: Path) -> None:
    from fer_cli.prediction.checkpoint import Checkpoint
    from fer_cli.prediction.results import FacePrediction, Frame, FrameResult
    from fer_cli.prediction.sources import Input

    checkpoint = Checkpoint(root / "p.csv")
    checkpoint.begin({"faces": "all"}, resume=False)
    checkpoint.list_inputs([Input(Path("a.png")), Input(Path("b.png"))])
    list(checkpoint.store([FrameResult(Frame(0, Path("a.png")), (FacePrediction(0, {"anger": 1.0}),))]))
    (root / ".p.csv.unfinished").rename(root / "unfinished")


def _shards(root: Path) -> None:
    import tarfile

    import pyarrow as pa
    from pyarrow import ipc, parquet

    paths = made_pictures(root / "made", 3)
    with tarfile.open(root / "a.tar", "w") as tar:
        for path in paths:
            tar.add(path, path.name)
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pa.table({"image": rows, "subject": list("abc")})
    parquet.write_table(table, root / "a.parquet", row_group_size=2)
    with ipc.new_stream(root / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _read_shard(name: str) -> Callable[[Path], object]:
    def read(root: Path) -> None:
        from fer_cli.prediction.sources import list_inputs, open_sources, read_frames

        sources = open_sources([root / name])
        for frame in read_frames(sources, enumerate(list_inputs(sources))):
            assert (frame.data is None) == (frame.problem is not None)

    return read


def _go_on(root: Path) -> None:
    from fer_cli.prediction.checkpoint import Checkpoint

    (root / "unfinished").rename(root / ".p.csv.unfinished")
    checkpoint = Checkpoint(root / "p.csv")
    checkpoint.begin({"faces": "all"}, resume=True)
    checkpoint.list_inputs([])
    list(checkpoint.remaining())
    list(checkpoint.results())


def _subjects(root: Path) -> None:
    (root / "subjects.csv").write_text("subject,gender,age\nP01,f,20\nP02,m,30\n")


def _read_subjects(root: Path) -> None:
    from fer_cli.evaluation.subgroups import read_attributes

    read_attributes(root / "subjects.csv", ["gender"])


def _evaluations(root: Path) -> None:
    from tests.evaluation.predictions import random_table
    from tests.evaluation.test_compare import better, evaluated

    rows = random_table(0, subjects=4, frames=1)
    evaluated(root / "a", rows)
    evaluated(root / "b", better(rows))


def _settings(root: Path) -> None:
    write_run(root / "run", features="target")
    card = json.loads((root / "run" / "run.json").read_text())
    card["recipe"] = {"epochs": 3, "lr": 0.001, "encoder": "scratch"}
    (root / "run.json").write_text(json.dumps(card))
    shutil.rmtree(root / "run")
    (root / "recipe.toml").write_text('epochs = 20\nlr = 0.01\nencoder = "scratch"\nfeatures = "target"\n')


def _train(file: str) -> Callable[[Path], None]:
    def use(root: Path) -> None:
        from fer_cli.errors import FerError

        try:
            fer("train", "difference", "--config", file, "--data", "nowhere")
        except FerError as error:
            # What is valid gets as far as the data, which are not there.
            if "no folder nowhere" not in str(error):
                raise

    return use


def _unfinished_training(root: Path) -> None:
    (root / "runs" / "a").mkdir(parents=True)
    recipe = {"epochs": 3, "encoder": "scratch"}
    card = {"model": "difference", "recipe": recipe, "dataset": "0", "path": "nowhere", "cross_validation": False}
    (root / "runs" / "a" / "unfinished.json").write_text(json.dumps(card))


def _resume(root: Path) -> None:
    from fer_cli.errors import FerError
    from fer_cli.runs.run import UNFINISHED

    (root / "runs" / "a" / "unfinished.json").rename(root / "runs" / "a" / UNFINISHED)
    try:
        fer("train", "difference", "--resume", "--out", "runs/a")
    except FerError as error:
        if "no folder nowhere" not in str(error):
            raise


def _zip(root: Path) -> None:
    with zipfile.ZipFile(root / "corpus.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/b.txt", "text " * 100)
        file.writestr("a/c.png", b"\x89PNG" * 100)


def _unpack(root: Path) -> None:
    from fer_cli.corpora.io import unpack_root
    from fer_cli.progress import silent

    unpack_root(root / "corpus.zip", silent)


def _arrays(root: Path) -> None:
    arrays = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.zeros((2, 2), ">f8")}
    (root / "weights.pkl").write_bytes(pickle.dumps(arrays, protocol=2))


def _read_arrays(root: Path) -> None:
    from fer_cli.models.pickles import read_arrays

    read_arrays(root / "weights.pkl")


def _embeddings(root: Path) -> None:
    import torch

    from fer_cli.embeddings.embed import Embeddings

    Embeddings(["a", "b"], torch.zeros(1, 2, 3)).save(root / "e.safetensors", "key")


def _load_embeddings(root: Path) -> None:
    from fer_cli.embeddings.embed import Embeddings

    found = Embeddings.load(root / "e.safetensors", "key")
    if found is not None:
        list(found.of(found.names))


def _drawn(root: Path) -> None:
    from fer_cli.corpora.synthetic import begin

    begin(root / "corpus", {"version": 1, "subjects": 3})
    shutil.copy(root / "corpus" / "synthetic.unfinished.json", root / "corpus" / "synthetic.json")


def _claim_drawn(root: Path) -> None:
    from fer_cli.corpora.synthetic import begin

    begin(root / "corpus", {"version": 1, "subjects": 3})


def _data(root: Path) -> None:
    made_dataset(root / "data", subjects=6)


DOORS = [
    _corpus("mmi", "Sessions/0/session.xml"),
    _corpus("mmi", "Sessions/0/S001-000-oao_aucs.xml", make=_courses),
    _corpus("ckplus", "Emotion/S001/001/S001_001_00000005_emotion.txt"),
    Door("landmarks", _landmarks, "a_landmarks.txt", _read_landmarks),
    _corpus("fer2013", "fer2013.csv", make=_fer2013),
    _corpus("fer2013", "fer2013new.csv", "--ferplus", "fer2013new.csv", make=_fer2013),
    _corpus("fer2013", "FER2013Train/label.csv", make=_ferplus),
    Door("row of pixels", _fer2013, "fer2013.csv", _read_pixels),
    _corpus("affectnet", "training.csv", make=_affectnet_table),
    _corpus("affectnet", "train_set/annotations/0_exp.npy"),
    _corpus("raf-db", "EmoLabel/list_patition_label.txt"),
    _corpus("expw", "label/label.lst"),
    _corpus("files", "rows.csv", "--table", "rows.csv", make=_photos),
    *map(_picture, ("png", "jpg", "gif", "webp", "bmp", "tiff")),
    *map(_video, ("mp4", "avi", "flv", "mov")),
    Door("zip", _zip, "corpus.zip", _unpack),
    Door("dataset.json", _data, "data/dataset.json", _open_dataset),
    Door("metadata.csv", _data, "data/metadata.csv", _open_dataset),
    Door("faces.jsonl", _data, "data/faces.jsonl", _read_journal),
    Door("synthetic.json", _drawn, "corpus/synthetic.json", _claim_drawn),
    Door("embeddings", _embeddings, "e.safetensors", _load_embeddings),
    Door("pickle of weights", _arrays, "weights.pkl", _read_arrays),
    _predict("run.json", "run/run.json", "faces"),
    _predict("config.json", "run/config.json", "faces"),
    _predict("preprocessor_config.json", "run/preprocessor_config.json", "faces"),
    _predict("model.safetensors", "run/model.safetensors", "faces"),
    _predict("neutral.safetensors", "run/neutral.safetensors", "faces", features="both"),
    _predict("table of neutral faces", "neutral.csv", "faces", "--neutral", "neutral.csv", features="both"),
    _predict("list.txt", "list.txt", "list.txt"),
    _predict("list.csv", "list.csv", "list.csv"),
    *(Door(f"shard {name}", _shards, name, _read_shard(name)) for name in ("a.tar", "a.parquet", "a.arrow")),
    *(
        Door(f"unfinished {name}", _prediction, f"unfinished/{name}", _go_on)
        for name in ("settings.json", "part-0.jsonl")
    ),
    Door("cross-validation.json", _cross_validation, "cv/cross-validation.json", _open_cross_validation),
    Door("run.json of a fold", _cross_validation, "cv/fold0/run.json", _open_cross_validation),
    Door("--config TOML", _settings, "recipe.toml", _train("recipe.toml")),
    Door("--config run.json", _settings, "run.json", _train("run.json")),
    Door("unfinished training", _unfinished_training, "runs/a/unfinished.json", _resume),
    Door("table of subjects", _subjects, "subjects.csv", _read_subjects),
    *(
        Door(f"compare {name}", _evaluations, f"a/evaluation/{name}", lambda folder: fer("compare", "a", "b"))
        for name in ("metrics.json", "predictions.csv")
    ),
]
