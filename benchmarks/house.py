"""The house in figures: files, lines, modules with one importer, import circles, and words that are not the field's.

python benchmarks/house.py          the figures
python benchmarks/house.py words    every place where one of those words stands
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fer_cli"

#: Names that ARCHITECTURE.md gives up for the field's, as whole names; those of classes are given up as classes alone.
NAMES = {
    *("judge", "judged", "Judged", "said", "known", "Known", "Answers", "answers", "drawn_again", "counted"),
    *("Shot", "shot", "shots", "Missed", "missed", "Outcome", "outcome", "outcomes", "Prediction", "Looker", "looker"),
    *("Seen", "Request", "request", "Unfinished", "unfinished", "Overlap", "overlap", "Insight", "insight", "Asked"),
    *(
        "asked",
        "course",
        "Start",
        "mend",
        "complain",
        "left_out",
        "looked_at",
        "held",
        "beside",
        "by_which",
        "of_itself",
    ),
}
#: The same in sentences. What is held out is the field's own.
PHRASES = re.compile(
    r"\b(judged?|judges|judging|mend(ed|s)?|complain(s|ed)?|left out|leav(e|es|ing) (\w+ ){0,3}out|looked at|"
    r"held(?![ -]out)|beside|by which|of itself|What changes the weights|Longest gradient|What computes|"
    r"What is taken for what)\b"
)
#: How a clause begins.
CLAUSE = re.compile(r"(By|What|How|Where|Whether|Who|Whom|Whose|Which|Why|When|That|On|From|Of)\b")


def modules() -> dict[str, Path]:
    """The files of the package by the names of their modules."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(found: dict[str, Path]) -> dict[str, set[str]]:
    """The modules of the package that each imports, inside functions too, but not those imported for types only."""
    edges = {}
    for name, path in found.items():
        targets = set()
        for node in _run(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    targets.add(whole if whole in found else node.module)
        # The package itself is a door: it has the version, and hands out the Predictor.
        edges[name] = targets & found.keys() - {name, "fer_cli"}
    return edges


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are run: not those under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _run(node)


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in edges:
        if name not in order:
            visit(name)
    return found


def imported_once(edges: dict[str, set[str]]) -> dict[str, str]:
    """The modules that exactly one other imports, and which; packages' own ``__init__`` files do not count."""
    importers: dict[str, set[str]] = {}
    for name, others in edges.items():
        for other in others:
            importers.setdefault(other, set()).add(name)
    return {name: next(iter(by)) for name, by in sorted(importers.items()) if len(by) == 1}


def old_names(found: dict[str, Path]) -> list[tuple[str, str]]:
    """Each place where one of :data:`NAMES` names a module, class, function or variable.

    Fields of a TypedDict are not ours to rename: they are keys of documents that were written before.
    """
    places = []
    for module, path in found.items():
        where = path.relative_to(ROOT)
        places += [(str(where), part) for part in module.split(".")[-1:] if part in NAMES]
        for node in _except_documents(ast.parse(path.read_text(encoding="utf-8"))):
            name = None
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = node.name
            elif isinstance(node, ast.arg):
                name = node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.attr
            if name is not None and name.lstrip("_") in NAMES:
                places.append((f"{where}:{node.lineno}", name))
    return places


def clauses(found: dict[str, Path]) -> list[tuple[str, str]]:
    """Each module whose docstring begins with a clause in place of a noun, and the docstring's first line."""
    first = {
        path: (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        for path in found.values()
    }
    return [(str(path.relative_to(ROOT)), line) for path, line in first.items() if CLAUSE.match(line)]


def _except_documents(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "TypedDict" for base in node.bases):
            continue
        yield node
        yield from _except_documents(node)


def help_texts() -> dict[str, str]:
    """What the program's help says, by the words that a person types for it."""
    import typer

    from fer_cli.cli.app import app

    texts = {}

    def visit(command: typer.core.TyperCommand | typer.core.TyperGroup, words: str) -> None:
        parts = [command.help, command.epilog, *(getattr(param, "help", None) for param in command.params)]
        texts[words] = "\n".join(filter(None, parts))
        for name, inner in getattr(command, "commands", {}).items():
            visit(inner, f"{words} {name}")

    visit(typer.main.get_command(app), "fer")
    return texts


def old_phrases(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Each place in ``texts`` where one of :data:`PHRASES` stands, and the words."""
    return [
        (where, match.group()) for where, text in texts.items() for match in PHRASES.finditer(" ".join(text.split()))
    ]


def written(found: dict[str, Path]) -> dict[str, str]:
    """The text of the package, its templates and the documentation, by file and line."""
    paths = [*found.values(), *PACKAGE.rglob("*.jinja"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    return {
        f"{path.relative_to(ROOT)}:{number}": line
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    }


def main() -> None:
    """Print the figures, or the places of the words."""
    found = modules()
    edges = imports(found)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in found.values())
    words = {
        "names that are not the field's": old_names(found),
        "such words in help texts": old_phrases(help_texts()),
        "such words in code, report and docs": old_phrases(written(found)),
        "docstrings of modules that begin with a clause": clauses(found),
    }
    if sys.argv[1:] == ["words"]:
        for places in words.values():
            for where, word in places:
                print(f"{where}: {word}")
        return
    print(f"{len(found):6}  files, of {lines / len(found):.0f} lines on average")
    print(f"{lines:6}  lines")
    print(f"{len(imported_once(edges)):6}  modules that exactly one other imports")
    print(f"{len(circles(edges)):6}  import circles", *map(" ↔ ".join, circles(edges)))
    for what, places in words.items():
        print(f"{len(places):6}  {what}")


if __name__ == "__main__":
    main()
