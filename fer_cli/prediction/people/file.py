"""The file of a people store: tables, opening and checks, transactions, and SQLite's errors as sentences."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fer_cli.errors import DiskFullError, FerError, UsageError
from fer_cli.files import open_regular

FILE, VERSION = "people.sqlite", 2
#: What marks the file as ours among SQLite's (``PRAGMA application_id``).
APPLICATION = int.from_bytes(b"ferP", "big")
#: Seconds to wait for another process that writes.
PATIENCE = 60.0
#: The largest value that is read, in bytes; an embedding has some thousands, a crop some ten thousands.
MAX_VALUE = 4_000_000

#: SQLite's own table of the ids that were given out, so that none is used twice.
OF_AUTOINCREMENT = "CREATE TABLE sqlite_sequence(name,seq)"
#: Strict tables, so that SQLite's own check finds a value of another type.
SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, merged_into INTEGER REFERENCES people(id), "
    "faces INTEGER NOT NULL, total BLOB NOT NULL, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL) STRICT",
    "CREATE TABLE faces (digest BLOB PRIMARY KEY, person INTEGER NOT NULL REFERENCES people(id)) STRICT, WITHOUT ROWID",
    "CREATE TABLE pictures (person INTEGER NOT NULL REFERENCES people(id), label TEXT NOT NULL, digest BLOB NOT NULL, "
    "name TEXT NOT NULL, score REAL NOT NULL, probability INTEGER NOT NULL, embedding BLOB, crop BLOB NOT NULL, "
    "UNIQUE (person, label, digest)) STRICT",
    "CREATE INDEX faces_of_person ON faces (person)",
    "CREATE TABLE albums (person INTEGER NOT NULL REFERENCES people(id), album INTEGER NOT NULL, "
    "PRIMARY KEY (person, album)) STRICT, WITHOUT ROWID",
)
#: The tables of version 1, which did not count albums: what it has is one album from now on.
SCHEMA_1 = SCHEMA[:-1]
FIRST_ALBUM = "INSERT INTO albums SELECT id, 1 FROM people WHERE faces > 0"


@dataclass(frozen=True)
class Binding:
    """The encoders that a store belongs to: fingerprints of the identity encoder and the model's, and their names."""

    identity: str
    encoder: str
    identity_name: str
    encoder_name: str


class PeopleFile:
    """The SQLite file in a folder, opened by :meth:`open`; one process at a time writes, and others wait for it.

    Every method raises :class:`~fer_cli.errors.FerError` where the file is damaged, may not be written, or is in use
    for longer than :data:`PATIENCE` seconds.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection):
        self.path, self._db = path, connection

    @classmethod
    def open(cls, folder: Path, binding: Binding | None = None, *, existing: bool = False) -> Self:
        """The store in ``folder``; with a ``binding`` it is made if there is none, but where it has to be ``existing``.

        Raises :class:`~fer_cli.errors.UsageError` if there is none, or it belongs to other encoders.
        """
        path = folder / FILE
        if (binding is None or existing) and not path.exists():
            raise UsageError(
                f"There is no people store in {folder}: no {FILE}.",
                hint=f"fer predict ALBUM --people {folder} makes one.",
            )
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--people {folder} is a file, and a store needs a folder.", hint="Name another DIR.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            empty = not path.exists() or _is_empty(path)
        except OSError as error:
            raise FerError(f"--people {folder}: {path} cannot be used: {error.strerror or error}.") from error
        with reported(path):
            connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        store = cls(path, connection)
        try:
            store._prepare(empty, binding)
        except BaseException:
            connection.close()
            raise
        return store

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, empty: bool, binding: Binding | None) -> None:
        with reported(self.path):
            self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
            # What is deleted is overwritten, the journal goes with the transaction, and no copy is made elsewhere.
            for setting in ("secure_delete=ON", "foreign_keys=ON", "trusted_schema=OFF", "temp_store=MEMORY"):
                self._db.execute(f"PRAGMA {setting}").fetchall()
        if empty and binding is not None:
            with self.writing():
                # Another process may have made it meanwhile.
                if not self.rows("SELECT 1 FROM sqlite_master"):
                    self._create(binding)
        if self._check() < VERSION:
            self._migrate()
        if binding is not None:
            self._check_binding(binding)

    def _create(self, binding: Binding) -> None:
        for statement in SCHEMA:
            self._db.execute(statement)
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", list(vars(binding).items()))
        self._db.execute(f"PRAGMA application_id = {APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _migrate(self) -> None:
        """Add what version 1 did not have; where the file may only be read, in memory."""
        try:
            with self.writing():
                # Another process may have done it meanwhile.
                if self.rows("PRAGMA user_version") == [(1,)]:
                    self._db.execute(SCHEMA[-1])
                    self._db.execute(FIRST_ALBUM)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        except FerError as error:
            if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF not in _READ_ONLY:
                raise
            with reported(self.path):
                self._db.execute("CREATE TEMP TABLE albums (person, album)")
                self._db.execute(FIRST_ALBUM)

    def _check(self) -> int:
        """The version; what is not ours, of a version that is not known here, or damaged is refused."""
        with reported(self.path):
            [[application]] = self._db.execute("PRAGMA application_id")
            [[version]] = self._db.execute("PRAGMA user_version")
            if application != APPLICATION:
                raise FerError(f"{self.path} is no people store: another program wrote it.", hint="Name another DIR.")
            if version not in (1, VERSION):
                raise FerError(
                    f"{self.path} is of version {version} of the people store; this fer knows up to {VERSION}.",
                    hint="Use the fer that wrote it, or name another DIR.",
                )
            found = {sql for (sql,) in self._db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")}
            # A trigger or a view would run what somebody else wrote.
            if found != {*(SCHEMA_1 if version == 1 else SCHEMA), OF_AUTOINCREMENT}:
                raise FerError(f"{self.path} is no people store: its tables are others.", hint="Name another DIR.")
            [[state]] = self._db.execute("PRAGMA quick_check(1)")
            if state != "ok":
                raise damaged(self.path, state)
        return version

    def _check_binding(self, binding: Binding) -> None:
        stored = dict(self.rows("SELECT key, value FROM meta"))
        for kind in ("identity", "encoder"):
            if stored.get(kind) != getattr(binding, kind):
                what = "identity encoder" if kind == "identity" else "model"
                was, now = stored.get(f"{kind}_name"), getattr(binding, f"{kind}_name")
                raise UsageError(
                    f"--people {self.path.parent} was made with another {what}: {was}. This one is {now}, and its "
                    "embeddings cannot be compared with those.",
                    hint="Type the --run, --model or --identity that made it, or --people with another folder.",
                )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read in the block is of one moment, whatever other processes write meanwhile."""
        with reported(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of the block, on the disk when it ends, or nothing of it."""
        with reported(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with reported(self.path):
            return self._db.execute(statement, values).fetchall()


def _is_empty(path: Path) -> bool:
    """Whether nothing was written yet, as when a process was killed before its first transaction was over."""
    with open_regular(path) as file:
        return not file.read(1)


def damaged(path: Path, why: object) -> FerError:
    """The error of a file whose content is not what was written."""
    return FerError(
        f"{path} is damaged, or no people store: {why}.", hint="Put a copy of it in its place, or name another DIR."
    )


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn SQLite's errors in the block into a :class:`~fer_cli.errors.FerError` that says what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        raise _report(path, error) from error


_READ_ONLY: Mapping[int, str] = {
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it or its folder cannot be opened for writing",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}


def _report(path: Path, error: sqlite3.Error) -> FerError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return FerError(
            f"{path} is in use: another process has been writing for {PATIENCE:g} seconds.",
            hint="Wait for it, and type the same line again.",
        )
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError.at(path.parent)
    if code in _READ_ONLY:
        return FerError(f"{path} cannot be written: {_READ_ONLY[code]}.", hint="Name a folder that you may write to.")
    # The rest is a file whose content is not what its tables say.
    return damaged(path, error)
