import subprocess
import sys

from fer_cli.corpora import corpora, detect
from fer_cli.corpora.base import Corpus
from fer_cli.corpora.ckplus import CKPlus
from tests.corpora.ckplus_tree import sequence


def test_every_reader_of_the_room_is_found():
    assert {"ckplus", "files", "synthetic"} <= set(corpora())
    for name, kind in corpora().items():
        assert kind.name == name
        assert issubclass(kind, Corpus)
        assert kind.title
        assert kind.summary.endswith(".")
        assert kind.layout
        assert kind.examples
        assert all(line.startswith(f"fer prepare {name}") for line in kind.examples)


def test_a_corpus_is_recognised_by_its_layout(tmp_path):
    assert detect(tmp_path) == []
    sequence(tmp_path, "S005", "001", label="fear")
    assert detect(tmp_path) == [CKPlus]


def test_readers_cost_nothing_to_list():
    program = (
        "import sys; from fer_cli.corpora import corpora; corpora(); "
        "print(sorted({'numpy', 'cv2', 'pandas', 'torch', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
