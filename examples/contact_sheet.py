"""Show a corpus on one page: a row a subject, the neutral face and then each expression at its apex.

    fer prepare synthetic corpora/synthetic
    python examples/contact_sheet.py corpora/synthetic sheet.png

FOLDER is any folder in CK+'s layout.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from fer_cli.corpora.ckplus import CKPlus
from fer_cli.labels import EXPRESSIONS

ROWS, TILE, LABEL = 8, (136, 140), 24


def contact_sheet(folder: Path) -> Image.Image:
    """Subjects from all over the corpus in ``folder``, of those who show most expressions."""
    corpus = CKPlus()
    faces: dict[str, dict[str, Path]] = {}
    for sequence in corpus.read(corpus.locate(folder)).records:
        if sequence.label is not None:
            shown = faces.setdefault(sequence.subject, {"neutral": sequence.frames[sequence.neutral].path})
            shown[sequence.label] = sequence.frames[sequence.apexes[-1]].path
    if not faces:
        sys.exit(f"{folder} has no sequence with an emotion label")
    most = max(len(shown) for shown in faces.values())
    subjects = sorted(subject for subject in faces if len(faces[subject]) == most)
    subjects = subjects[:: -(-len(subjects) // ROWS)]

    sheet = Image.new("RGB", (TILE[0] * len(EXPRESSIONS), LABEL + TILE[1] * len(subjects)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column, expression in enumerate(EXPRESSIONS):
        draw.text((TILE[0] * (column + 0.5), LABEL / 2), expression, "black", font, anchor="mm")
        for row, subject in enumerate(subjects):
            if expression in faces[subject]:
                picture = Image.open(faces[subject][expression]).convert("RGB")
                tile = ImageOps.fit(picture, TILE, bleed=0.07, centering=(0.5, 0.4))
                sheet.paste(tile, (TILE[0] * column, LABEL + TILE[1] * row))
    return sheet


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/contact_sheet.py FOLDER OUT.png")
    # 256 colours of its own are enough for a page of small pictures, and a third of the bytes.
    contact_sheet(Path(sys.argv[1])).quantize(256, kmeans=8, dither=Image.Dither.NONE).save(sys.argv[2], optimize=True)
