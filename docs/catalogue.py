"""Pages of the corpora, the models and the published weights, made from the code's registers."""

import ast
import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from fer_cli.corpora import corpora
from fer_cli.corpora.base import Corpus
from fer_cli.corpora.layouts import NamedClips, NamedStills
from fer_cli.corpora.synthetic import Synthetic
from fer_cli.labels import CLASS_SETS
from fer_cli.models.weights import ALL, ImportedWeights, PackagedWeights
from fer_cli.training.recipes import RECIPES
from fer_cli.training.recipes.base import Recipe

#: Sphinx's roles, ``:class:`~fer_cli.errors.FerError```.
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?(?:[\w.]*\.)?(\w+)`")
#: Lines of a session at Python's prompt, and what they print.
SESSION = re.compile(r"^>>> .*(?:\n(?!\n).*)*", re.MULTILINE)

MODELS = Path(inspect.getfile(Recipe)).parents[2] / "models"
ARCHIVES = (
    "The folder may hold the owners' zips and tars, or be one of them ([corpora](../corpora.md)). "
    "`fer prepare {} FOLDER --check` compares what is there with what is expected, and writes nothing."
)
RULES = "[Which one](../corpora.md#which-neutral-picture-a-face-is-compared-with) follows two rules."
#: What a corpus that names people has for a neutral face, by the kind of its records; others name nobody.
NEUTRAL = {
    "sequences": "The first frame of the sequence: each begins neutral and runs to its apex.",
    "stills": f"A picture of the same person that is labelled neutral, from the same view. {RULES}",
    "clips": f"The middle frame of a neutral clip of the same person. {RULES}",
    "files": "The subject's, where a label says so or a sequence begins with it; without any, pictures are unpaired.",
    "": "None: nobody is named, so that no picture can be compared with one of the same person. "
    "`fer train classifier` and `fer train vit-se` need none; `fer train difference` takes `--features target`.",
}
RULE = {"id-step": "by ID step", "stratified-group": "balanced by class"}
#: What to know of a corpus besides.
NOTES = {
    "affectnet": ["Faces annotated as none, uncertain or no face (8 to 10) are skipped and counted."],
    "bu3dfe": [
        "There is one neutral picture of a person: with neutral among the classes it has no other to be compared with, "
        "and is unpaired. `--classes 6` pairs every other picture with it."
    ],
    "ckplus": [
        "A sequence without a label is not neutral: it is skipped. 327 sequences have one: surprise 83, happiness 69, "
        "disgust 59, anger 45, sadness 28, fear 25, contempt 18; with the last three frames 981 pictures.",
        "Labelled sequences in folds 0 to 9: 33, 39, 40, 35, 30, 37, 29, 29, 33, 22. The last has no fear: a class's "
        "recall is that of the pooled folds, never the mean of theirs.",
        "Six classes are 309 sequences of 106 people. Drawing folds before contempt is left aside puts seven people "
        "into other folds; fer filters first, and the protocol says so.",
        "Frames of the original CK are named by time code. The copy `CK+48` has the apexes alone, without a neutral "
        "face; a table of pixels (`ckextended.csv`) names nobody, and is refused.",
    ],
    "crema-d": ["The names of the clips say what was acted, which is not always what raters saw or heard."],
    "fer2013": ["[FER+: folders, votes, faces](../corpora.md#fer-folders-votes-faces)."],
    "kdef": ["Two files that their owners named wrongly, `AF31V.JPG` and `AM31H.JPG`, are listed among the skipped."],
    "mmi": [
        "The emotion is found by its name in `session.xml`; other codes than the six are skipped and counted.",
        "Pictures are often stored sideways, and some show the face from the front and the side at once: what is taken "
        "follows from where a face is found, and is written down.",
        "Where nobody annotated action units the apex is three frames about the middle; the protocol says *assumed*.",
    ],
    "mug": ["The manually annotated set; a take shows one expression."],
    "raf-db": ["The compound set, whose codes go to 11, is another task, and is refused."],
    "ravdess": [
        "*Calm* (02) is none of the classes. Of a recording with sound and one without, the one without is taken.",
        "Speech is compared with speech, song with song: nobody sings disgust or surprise.",
    ],
    "sfew": ["Their owners keep the labels of the test pictures: the validation pictures are the test."],
    "yale": [
        "`subject04.sad` is a copy of that person's neutral picture, and is skipped.",
        "There is one neutral picture of a person: as in BU-3DFE it is unpaired where neutral is a class.",
    ],
}


def on_config(config: Any) -> Any:
    """Put the pages into the navigation; mkdocs calls it."""
    section = next(inner["Corpora and models"] for inner in config.nav if "Corpora and models" in inner)
    pages = {
        "Each corpus": [{kind.title: f"corpora/{name}.md"} for name, kind in corpora().items()],
        "Each model": [
            *({recipe.name: f"models/{recipe.name}.md"} for recipe in RECIPES),
            {"Published weights": "models/weights.md"},
        ],
    }
    section += [{title: inner} for title, inner in pages.items()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; mkdocs calls it."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """The text of each page by its path."""
    return {
        **{f"corpora/{name}.md": corpus_page(kind) for name, kind in corpora().items()},
        **{f"models/{recipe.name}.md": model_page(recipe) for recipe in RECIPES},
        "models/weights.md": weights_page(),
    }


def kind_of(corpus: type[Corpus]) -> str:
    """The kind of a corpus's records, a key of :data:`NEUTRAL`."""
    if issubclass(corpus, NamedStills):
        return "stills"
    if issubclass(corpus, NamedClips):
        return "clips"
    if corpus.name == "files":
        return "files"
    return "sequences" if "Sequence" in vars(sys.modules[corpus.__module__]) or corpus is Synthetic else ""


def corpus_page(corpus: type[Corpus]) -> str:
    """Where a corpus is from, its layout, the lines to type, its protocol, neutral faces and options."""
    terms, kind = corpus.terms, kind_of(corpus)
    where = [
        ("owner", terms.owner),
        ("condition of use", terms.condition),
        ("to be had and read at", f"<{terms.source}>" if terms.source else "–"),
        ("publishing weights made from it", terms.weights),
    ]
    promised = ", ".join(f"{count:,} {what}" for what, count in corpus.promises.items())
    options = [field for field in dataclasses.fields(corpus) if hasattr(field.type, "__metadata__")]
    parts = [
        f"# {'Your own pictures' if kind == 'files' else corpus.title}",
        prose(sys.modules[corpus.__module__].__doc__),
        "## From whom",
        bullets(where),
        "The condition is a reminder in a clause, not the agreement: read that." if terms.source else "",
        "## What is looked for",
        f"```text\n{corpus.layout}\n```",
        prose(corpus.__doc__),
        ARCHIVES.format(corpus.name) if terms.source else "",
        "## What to type",
        f"```text\n{chr(10).join(lines_of(corpus))}\n```",
        "## Protocol",
        "Unless told otherwise:",
        bullets(protocol_of(corpus, kind)),
        f"The owners promise {promised}; `--check` shows what is there next to it." if promised else "",
        "## Neutral faces",
        NEUTRAL[kind],
        "## To know" if corpus.name in NOTES else "",
        "\n".join(f"- {note}" for note in NOTES.get(corpus.name, [])),
        "## Options of its own" if options else "",
        table(("option", "meaning"), map(option, options)) if options else "",
        f"All options: [`fer prepare {corpus.name}`](../reference/cli.md#fer-prepare-{corpus.name}).",
    ]
    return joined(parts)


def lines_of(corpus: type[Corpus]) -> tuple[str, ...]:
    """Lines to type."""
    return corpus.examples or (f"fer prepare {corpus.name} FOLDER",)


def protocol_of(corpus: type[Corpus], kind: str) -> list[tuple[str, str]]:
    """The protocol's defaults, a row each."""
    named = CLASS_SETS.get(corpus.classes)
    classes = f"{corpus.classes}: {', '.join(named)}" if named else corpus.classes
    frames = {
        "sequences": f"the last {corpus.apex_frames} of a sequence, where the owners do not annotate the apex",
        "clips": "three about the middle of a clip",
        "files": "pictures; of sequences the last 3, of clips three about the middle",
    }
    rule = f"{corpus.folds} of subjects, {RULE[corpus.fold_rule]}"
    crops = "the owners' crops, as they are" if corpus.cropped and corpus.aligned else "found and aligned"
    return [
        ("classes", "every expression that is found" if corpus.classes == "found" else classes),
        ("frames", frames.get(kind, "single pictures")),
        ("folds", rule if kind else "none; the owners' split, where there is one"),
        ("faces", crops),
    ]


def option(field: dataclasses.Field) -> tuple[str, str]:
    """A setting's flag, and its meaning."""
    said = next(each.documentation for each in field.type.__metadata__ if hasattr(each, "documentation"))
    name = field.name.replace("_", "-")
    return (f"`--{name}`, `--no-{name}`" if field.type.__origin__ is bool else f"`--{name}`"), said


def model_page(recipe: type[Recipe]) -> str:
    """What a model is, its paper, the lines to type, its published settings and its own options."""
    source = MODELS / f"{recipe.name.replace('-', '_')}.py"
    shared = {
        field.name
        for base in recipe.__mro__[1:]
        if dataclasses.is_dataclass(base)
        for field in dataclasses.fields(base)
    }
    own = [
        field
        for field in dataclasses.fields(recipe)
        if field.name not in shared and hasattr(field.type, "__metadata__")
    ]
    parts = [
        f"# {recipe.name}",
        prose(recipe.__doc__),
        prose(ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))),
        "## What to type",
        f"```text\n{chr(10).join(recipe.examples or (f'fer train {recipe.name}',))}\n```",
        "What the weights, the head and the settings are, and which to take: [training](../training.md). "
        "What each model reaches on the same folds: [performance](../performance.md).",
        "## Published settings" if recipe.published else "",
        *(published(name, kind) for name, kind in recipe.published.items()),
        "## Options of its own",
        table(("option", "meaning"), map(option, own)),
        f"All options: [`fer train {recipe.name}`](../reference/cli.md#fer-train-{recipe.name}).",
    ]
    return joined(parts)


def published(name: str, settings: type) -> str:
    """Whose settings ``--recipe NAME`` are, and each of them."""
    values = {field.name.replace("_", "-"): field.default for field in dataclasses.fields(settings)}
    shown = (
        f"`{name}` {' '.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in values.items()
    )
    return f"**`--recipe {name}`**. {prose(settings.__doc__)}\n\n{', '.join(shown)}."


def weights_page() -> str:
    """The register of packaged and fetched weights: what each is for, from whom, its licence and permission."""
    how = {ImportedWeights: "`fer weights import FILE`", PackagedWeights: "comes with fer"}
    parts = [
        "# Published weights",
        "What fer uses of others, and the model that comes with it; `fer weights list` shows which of them are here. "
        "The licence of code and that of weights are two things, and neither changes what the owners of the pictures "
        "allow. How downloads are pinned, and where they are kept: [training](../training.md#weights).",
    ]
    for each in ALL.values():
        rows = [
            ("for", each.used_for),
            ("from", each.home),
            ("licence", each.licence),
            ("who may use them", each.permission),
        ]
        parts += [
            f"## {each.name}",
            bullets([*rows, ("how to have them", how.get(type(each), f"`fer weights fetch {each.name}`"))]),
        ]
    return joined(parts)


def prose(docstring: str | None) -> str:
    """A docstring as paragraphs of Markdown."""
    text = as_markdown(inspect.cleandoc(docstring or ""))
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def bullets(rows: list[tuple[str, str]]) -> str:
    """A list of what is what."""
    return "\n".join(f"- {name}: {value if re.match(r'[`<]', value) else escaped(value)}" for name, value in rows)


def table(head: tuple[str, ...], rows: Any) -> str:
    """A table of Markdown; a cell in code or in angle brackets stands as it is."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = (cell if re.match(r"[`<]", cell) else escaped(" ".join(cell.split())) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def joined(parts: list[str]) -> str:
    """The parts that are there, a blank line between them."""
    return "\n\n".join(filter(None, parts)) + "\n"


def as_markdown(text: str) -> str:
    """A docstring in Markdown.

    >>> as_markdown("Raises :class:`~fer_cli.errors.FerError`.")
    'Raises `FerError`.'
    """
    text = ROLE.sub(r"`\1`", text).replace("``", "`")
    return SESSION.sub(lambda found: f"```pycon\n{found[0].replace('  # doctest: +SKIP', '')}\n```", text)


def escaped(text: str) -> str:
    """Text in which nothing is markup."""
    for letter in "|<>*_":
        text = text.replace(letter, f"\\{letter}")
    return text
