"""The people store: one SQLite file of persons, the faces counted for each, and a few pictures of each.

A person is one or several rows of ``people``: merging only points a row at another (``merged_into``), so that a split
gives back what was there, and an id leads to the same person for ever. Each face is counted once, by the digest of its
crop; what identifies a person is the sum of the faces' identity embeddings of length one.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import cast

import numpy as np

from fer_cli.errors import UsageError
from fer_cli.labels import NEUTRAL
from fer_cli.prediction.people.file import PeopleFile, damaged, reported

#: Neutral pictures kept of a person, and pictures of each other expression.
NEUTRALS, OTHERS = 5, 1
ID = "person-"


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture kept of a person: ``name`` (path, frame, face), its ``label`` and how sure that is.

    ``score`` is a probability where ``probability`` is True, else the higher the surer. ``embedding`` is W float32 by
    the model's own encoder, of neutral pictures. ``crop`` is a JPEG. ``digest`` is the crop's.
    """

    digest: bytes
    label: str
    name: str
    score: float
    probability: bool
    crop: bytes
    embedding: np.ndarray | None = None


@dataclass(frozen=True)
class Person:
    """A person: how many ``faces`` were counted, the dates of first and last use, how many ``neutral`` pictures.

    ``albums`` is in how many predictions there were faces that had not been counted before. ``sure`` is the mean
    probability that the pictures are neutral, None without any. ``parts`` are the numbers of the rows that make up the
    person, its own first.
    """

    number: int
    name: str
    faces: int
    first_seen: str
    last_seen: str
    parts: tuple[int, ...]
    albums: int = 0
    neutral: int = 0
    sure: float | None = None

    @property
    def id(self) -> str:
        """The id, which never changes and is never used again."""
        return f"{ID}{self.number}"


class PeopleStore(PeopleFile):
    """The persons in a :class:`~fer_cli.prediction.people.file.PeopleFile`: read, counted, and edited."""

    def people(self) -> list[Person]:
        """All persons, by id."""
        rows = {row[0]: row[1:] for row in self.rows(
            "SELECT id, name, faces, first_seen, last_seen FROM people ORDER BY id")}  # fmt: skip
        albums: dict[int, set[int]] = {}
        for part, album in self.rows("SELECT person, album FROM albums"):
            albums.setdefault(part, set()).add(album)
        members: dict[int, list[int]] = {}
        for part, root in self.roots().items():
            members.setdefault(root, []).append(part)
        found = []
        for root, others in sorted(members.items()):
            parts = (root, *(part for part in others if part != root))
            each = [rows[part] for part in parts]
            neutrals = self.pictures(parts, NEUTRAL)
            scores = [picture.score for picture in neutrals if picture.probability]
            found.append(
                Person(
                    number=root,
                    name=next((str(row[0]) for row in each if row[0]), ""),
                    faces=sum(row[1] for row in each),
                    first_seen=min(str(row[2]) for row in each),
                    last_seen=max(str(row[3]) for row in each),
                    parts=parts,
                    albums=len(set().union(*(albums.get(part, ()) for part in parts))),
                    neutral=len(neutrals),
                    sure=sum(scores) / len(scores) if scores else None,
                )
            )
        return found

    def find(self, who: str) -> Person:
        """The person with this id, also one that was merged into another, or with this name.

        Raises :class:`~fer_cli.errors.UsageError` if there is none, or several have the name.
        """
        people = self.people()
        number = who.removeprefix(ID)
        if number.isdecimal() and len(number) < 19:
            found = [person for person in people if int(number) in person.parts]
        else:
            found = [person for person in people if person.name == who != ""]
        if len(found) == 1:
            return found[0]
        ids = ", ".join(person.id for person in (found or people)[:10])
        if found:
            raise UsageError(f"Several people are called {who}: {ids}.", hint="Type the id.")
        raise UsageError(
            f"{self.path.parent} has no person {who}.", hint=f"It has {ids or 'nobody'} (fer people list)."
        )

    def roots(self) -> dict[int, int]:
        """The person that each row of ``people`` belongs to, by their numbers."""
        above = dict(self.rows("SELECT id, merged_into FROM people ORDER BY id"))
        roots = {}
        for part in above:
            root, steps = part, 0
            while above.get(root) is not None:
                root, steps = above[root], steps + 1
                if steps > len(above) or root not in above:
                    raise damaged(self.path, "people are merged in a circle")
            roots[part] = root
        return roots

    def centroids(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of all rows of ``people``, P, and the sums of their identity embeddings, P×D float32."""
        rows = self.rows("SELECT id, total FROM people ORDER BY id")
        totals = [self._vector(total) for _, total in rows]
        if len({len(total) for total in totals}) > 1:
            raise damaged(self.path, "its embeddings are of several lengths")
        return np.array([number for number, _ in rows], np.int64), np.stack(totals) if totals else np.empty((0, 1))

    def person_of(self, digest: bytes) -> int | None:
        """The row of ``people`` that a face was counted for, None for one not seen before."""
        rows = self.rows("SELECT person FROM faces WHERE digest = ?", digest)
        return rows[0][0] if rows else None

    def counted_faces(self) -> tuple[np.ndarray, np.ndarray]:
        """The first eight bytes of the digests of all counted faces, N uint64, and N rows of ``people``."""
        keys, parts = array("Q"), array("q")
        with reported(self.path):
            for digest, part in self._db.execute("SELECT digest, person FROM faces ORDER BY digest"):
                keys.append(int.from_bytes(digest[:8], "little"))
                parts.append(part)
        return np.array(keys, np.uint64), np.array(parts, np.int64)

    def pictures(self, parts: Iterable[int], label: str | None = None) -> list[Picture]:
        """The pictures of a person, who is made up of ``parts``: the neutral ones, the most neutral first, then others.

        Of each label no more than are kept of one row.
        """
        found: dict[str, list[Picture]] = {}
        for part in parts:
            for digest, name, place, score, probability, embedding, crop in self.rows(
                "SELECT digest, label, name, score, probability, embedding, crop FROM pictures "
                "WHERE person = ?1 AND (?2 IS NULL OR label = ?2)", part, label):  # fmt: skip
                vector = None if embedding is None else self._vector(embedding)
                picture = Picture(digest, name, place, score, bool(probability), crop, vector)
                found.setdefault(name, []).append(picture)
        kept = []
        for name in sorted(found, key=lambda name: (name != NEUTRAL, name)):
            best = sorted(found[name], key=lambda each: (-each.probability, -each.score, each.digest))
            kept += best[: _kept(name)]
        return kept

    def _vector(self, blob: object) -> np.ndarray:
        if not isinstance(blob, bytes) or len(blob) % 4 or not np.isfinite(vector := np.frombuffer(blob, "<f4")).all():
            raise damaged(self.path, "an embedding is no row of numbers")
        return vector

    # Counting; within writing()

    def add_person(self, width: int, today: date) -> int:
        """A new row of ``people`` without faces, and its number."""
        day = today.isoformat()
        insert = "INSERT INTO people (faces, total, first_seen, last_seen) VALUES (0, ?, ?, ?)"
        added = self._db.execute(insert, (np.zeros(width, "<f4").tobytes(), day, day))
        return cast(int, added.lastrowid)  # of an INSERT it is no None

    def next_album(self) -> int:
        """A number that no album in the store has."""
        [[number]] = self.rows("SELECT coalesce(max(album), 0) + 1 FROM albums")
        return number

    def count(self, part: int, digests: Iterable[bytes], total: np.ndarray, today: date, album: int) -> None:
        """Count new faces for ``part``: their digests, and the sum D of their identity embeddings of length one."""
        digests = list(digests)
        self._db.execute("INSERT OR IGNORE INTO albums VALUES (?, ?)", (part, album))
        [[before]] = self.rows("SELECT total FROM people WHERE id = ?", part)
        self._db.executemany("INSERT INTO faces VALUES (?, ?)", ((digest, part) for digest in digests))
        self._db.execute(
            "UPDATE people SET faces = faces + ?, total = ?, last_seen = max(last_seen, ?) WHERE id = ?",
            (len(digests), (self._vector(before) + total).astype("<f4").tobytes(), today.isoformat(), part),
        )

    def offer(self, part: int, picture: Picture) -> None:
        """Keep a picture of ``part`` if it is among the surest of its label."""
        embedding = None if picture.embedding is None else picture.embedding.astype("<f4").tobytes()
        self._db.execute(
            "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (part, picture.label, picture.digest, picture.name, picture.score, picture.probability, embedding,
             picture.crop),
        )  # fmt: skip
        self._db.execute(
            "DELETE FROM pictures WHERE person = ?1 AND label = ?2 AND digest NOT IN (SELECT digest FROM pictures "
            "WHERE person = ?1 AND label = ?2 ORDER BY probability DESC, score DESC, digest LIMIT ?3)",
            (part, picture.label, _kept(picture.label)),
        )

    # Editing

    def rename(self, person: Person, name: str) -> None:
        """Give a person a name; an empty one takes it away.

        Raises :class:`~fer_cli.errors.UsageError` for a name that looks like an id.
        """
        if name.removeprefix(ID).isdecimal():
            raise UsageError(f"{name} looks like an id, which a person cannot be called.")
        with self.writing():
            self._db.execute("UPDATE people SET name = ? WHERE id = ?", (name or None, person.number))

    def merge(self, person: Person, other: Person) -> None:
        """Make ``other`` the same person as ``person``, whose id it has from now on; its own leads there too."""
        if person.number == other.number:
            raise UsageError(f"{person.id} and {other.id} are one person already.")
        with self.writing():
            # Another process may have merged either meanwhile, and a circle is nobody.
            roots = self.roots()
            if roots.get(person.number) == roots.get(other.number):
                raise UsageError(f"{person.id} and {other.id} are one person already.")
            target, source = roots[person.number], roots[other.number]
            self._db.execute("UPDATE people SET merged_into = ? WHERE id = ?", (target, source))

    def split(self, person: Person) -> list[int]:
        """Undo all merges into ``person``, and return the numbers of those who come back under their old ids.

        What was counted since went to the part that it was nearest to, and stays there.
        """
        with self.writing():
            back = [number for (number,) in self.rows("SELECT id FROM people WHERE merged_into = ?", person.number)]
            self._db.execute("UPDATE people SET merged_into = NULL WHERE merged_into = ?", (person.number,))
        return back

    def forget(self, people: Iterable[Person]) -> None:
        """Delete persons with all of their rows, and overwrite what these contained on the disk."""
        with self.writing():
            # A part that was merged meanwhile goes with its person; references point upwards, so all at once.
            self._db.execute("PRAGMA defer_foreign_keys = ON")
            numbers = {person.number for person in people}
            parts = [(part,) for part, root in self.roots().items() if root in numbers or part in numbers]
            for statement in ("albums WHERE person", "pictures WHERE person", "faces WHERE person", "people WHERE id"):
                self._db.executemany(f"DELETE FROM {statement} = ?", parts)
        with reported(self.path):
            self._db.execute("VACUUM")


def _kept(label: str) -> int:
    return NEUTRALS if label == NEUTRAL else OTHERS
