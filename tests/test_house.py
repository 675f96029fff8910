"""The house keeps its floors: a file imports only from its own room and from the floors below."""

import ast
import re
from pathlib import Path

import pytest

import fer_cli
from benchmarks import house

HOUSE = Path(fer_cli.__file__).parent
FLOORS = {
    "cli": 7,
    "benchmark": 6,
    "doctor": 5,
    "prediction": 5,
    "evaluation": 5,
    "export": 5,
    "training": 5,
    "embeddings": 4,
    "models": 3,
    "dataset": 3,
    "runs": 3,
    "corpora": 2,
    "synthetic": 1,
    "faces": 1,
    "pretrained": 1,
    "pages": 1,
    "protocol": 0,
    "labels": 0,
    "errors": 0,
    "extras": 0,
    "progress": 0,
    "files": 0,
    "tables": 0,
    "documents": 0,
    "options": 0,
    "pools": 0,
    "distributed": 0,
}
DOORS = {"__init__", "__main__"}
#: What takes seconds to import, and so must wait until a command needs it.
HEAVY = {"torch", "torchvision", "transformers", "accelerate", "sklearn", "matplotlib", "cv2", "pandas", "timm"}


def room(module: str) -> str:
    """``fer_cli.dataset.pairing`` → ``dataset``."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path, *, at_start: bool = False) -> set[str]:
    """The modules that a file imports; ``at_start`` leaves out those imported inside functions or for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if at_start else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(HOUSE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down_the_floors(path):
    own = path.relative_to(HOUSE).with_suffix("").parts[0]
    if own in DOORS:
        return
    for name in imports(path):
        if name == "fer_cli" or name.startswith("fer_cli.__"):
            continue
        if name.startswith("fer_cli."):
            other = room(name)
            # The ground floor is one room of single files.
            same_room = other == own or FLOORS[other] == FLOORS[own] == 0
            assert same_room or FLOORS[other] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {name}"


def test_the_map_in_the_documentation_has_the_same_floors():
    page = (HOUSE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {name: int(floor) for name, floor in re.findall(r"^\| `(\w+)/` \| (\d) \|", page, flags=re.MULTILINE)}
    assert {name: floor for name, floor in FLOORS.items() if floor > 0}.items() <= drawn.items()


def test_no_file_imports_itself_by_way_of_others():
    found = house.modules()
    assert len(found) == len(FILES)
    assert house.circles(house.imports(found)) == []


def test_a_circle_would_be_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"f"}, "f": {"e"}, "g": {"a"}}
    assert sorted(house.circles(edges)) == [["a", "b", "c"], ["e", "f"]]
    assert house.imported_once(edges) == {"b": "a", "c": "b", "d": "c", "e": "f", "f": "e"}


def test_every_room_has_a_floor():
    rooms = {path.relative_to(HOUSE).with_suffix("").parts[0] for path in FILES} - DOORS
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("path", sorted((HOUSE / "cli").rglob("*.py")), ids=lambda path: path.name)
def test_the_command_line_imports_nothing_heavy_at_start(path):
    assert not {name.split(".")[0] for name in imports(path, at_start=True)} & HEAVY


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_what_is_printed_goes_through_the_one_place_that_makes_it_plain(path):
    if path.name != "console.py":
        assert not imports(path) & {"rich.console.Console", "rich.print", "rich.markup.escape", "rich.get_console"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_processes_come_from_the_one_place_that_ends_them(path):
    if path.name != "pools.py":
        assert not {name for name in imports(path) if "multiprocessing" in name or "PoolExecutor" in name} - {
            "concurrent.futures.ThreadPoolExecutor"
        }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_file_is_short_enough_to_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_words_are_the_fields():
    found = house.modules()
    assert house.old_names(found) == []
    assert house.old_phrases(house.help_texts()) == []
    assert house.old_phrases(house.written(found)) == []
    assert house.clauses(found) == []


def test_the_house_has_few_rooms():
    found = house.modules()
    # 150 for preparing, training, evaluating and predicting; 20 for people over time, clusters and albums; 30 for
    # benchmarks, the baseline, other programs' predictions, cards and publication.
    assert len(found) <= 200
    assert len(house.imported_once(house.imports(found))) <= 40
