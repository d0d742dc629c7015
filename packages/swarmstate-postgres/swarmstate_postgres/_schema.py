"""The objects in the database: their names, and the migrations that create them."""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

__all__ = [
    "Names",
    "lock_sql",
    "migration_sql",
    "migrations",
    "quoted",
    "setup_sql",
    "setup_steps",
    "vector_migration_sql",
    "vector_migrations",
]

_SCHEMA = re.compile(r"[^\0-\x1f\x7f-\x9f$\u2028\u2029\ud800-\udfff]+")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
# The migrations table of such a prefix would be the vector migrations table of another prefix.
_VECTOR_SUFFIX = "_vector"
# PostgreSQL truncates longer names.
_MAX_IDENTIFIER_BYTES = 63
_MIGRATION = re.compile(r"(\d{4})_\w+\.sql")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_OBJECTS = {
    "migrations": "migration",
    "namespaces": "namespace",
    "records": "record",
    "read": "read",
    "write": "write",
    "renew": "renew",
    "sweep": "sweep",
    "namespaces_view": "namespaces",
    "records_view": "records",
    "vector_migrations": "vector_migration",
    "vector_states": "vector_state",
    "vectors": "vector",
}
# An index is in its table's schema; CREATE INDEX accepts no schema.
_INDEXES = {
    "namespaces_expiry": "namespace_expiry",
    "namespaces_emptied": "namespace_emptied",
    "vectors_scope": "vector_scope",
}

# Statements after the lock must see what others did before it, whatever the role's default.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED;"
_LOCK = "SELECT pg_advisory_xact_lock({lock});"
_CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema};"
_CREATE_MIGRATIONS = """\
CREATE TABLE IF NOT EXISTS {migrations} (
    version int PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);"""
_CREATE_VECTOR_MIGRATIONS = _CREATE_MIGRATIONS.replace("{migrations}", "{vector_migrations}")
_CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector;"
_GRANT_VECTORS = """\
GRANT SELECT ON {vector_migrations} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {vector_states}, {vectors} TO {role};"""
_GRANT = """\
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {migrations}, {namespaces_view}, {records_view} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {namespaces}, {records} TO {role};
GRANT EXECUTE ON FUNCTION {read}, {write}, {renew}, {sweep} TO {role};"""


class Names(NamedTuple):
    """The schema and the prefix that the names of all objects are made of.

    Every name is qualified with the schema, so nothing depends on `search_path`.
    """

    schema: str
    prefix: str

    @classmethod
    def of(cls, schema: str, prefix: str) -> Names:
        """Return names after checking the schema and the prefix.

        Raises:
            ValueError: They do not make valid names.
        """
        # A "$" could end the dollar quotes around function bodies, a line break a comment.
        if not _SCHEMA.fullmatch(schema) or len(schema.encode()) > _MAX_IDENTIFIER_BYTES:
            raise ValueError(
                f"expected schema to be a name of 1 to {_MAX_IDENTIFIER_BYTES} bytes without "
                f"control characters, lone surrogates or '$', found {schema!r}"
            )
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                "expected prefix to be 1 to 40 letters, digits and underscores, not starting "
                f"with a digit, found {prefix!r}"
            )
        if prefix.endswith(_VECTOR_SUFFIX):
            raise ValueError(
                f"expected prefix not to end with {_VECTOR_SUFFIX!r}, which follows the prefix in "
                f"the names of vector tables, found {prefix!r}"
            )
        return cls(schema, prefix)

    def fill_in(self, sql: str, **others: str) -> str:
        """Replace each `{object}` in `sql` with its name, and other placeholders from `others`."""
        schema = quoted(self.schema)
        words = {
            key: f"{schema}.{quoted(f'{self.prefix}_{name}')}" for key, name in _OBJECTS.items()
        }
        words |= {key: quoted(f"{self.prefix}_{name}") for key, name in _INDEXES.items()}
        words |= {"schema": schema, "lock": str(self._lock()), **others}
        return _PLACEHOLDER.sub(lambda found: words[found[1]], sql)

    def _lock(self) -> int:
        """Return the number of the advisory lock that migrations take."""
        digest = blake2b(f"swarmstate\0{self.schema}\0{self.prefix}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "big", signed=True)


def quoted(identifier: str) -> str:
    """Return an identifier quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


@cache
def migrations() -> dict[int, str]:
    """Return the migrations by number, in order, with placeholders for names."""
    return _read_migrations("migrations")


@cache
def vector_migrations() -> dict[int, str]:
    """Return the migrations of the tables for vectors, which need the extension pgvector."""
    return _read_migrations("migrations/vectors")


def _read_migrations(path: str) -> dict[int, str]:
    folder = files(__package__).joinpath(path)
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if match := _MIGRATION.fullmatch(file.name):
            found[int(match[1])] = file.read_text(encoding="utf-8").strip()
    return found


def lock_sql(names: Names) -> str:
    """Return the SQL that locks out others that set up the same, until the transaction ends."""
    return names.fill_in(_LOCK)


def setup_steps(names: Names, *, schema_exists: bool) -> list[str]:
    """Return the statements between the lock and the migrations."""
    creating = [] if schema_exists else [_CREATE_SCHEMA]
    return [names.fill_in(step) for step in (*creating, _CREATE_MIGRATIONS)]


def migration_sql(names: Names, number: int) -> str:
    """Return the SQL of a migration, which also records that it was run."""
    noted = f"INSERT INTO {{migrations}} (version) VALUES ({number});"
    return names.fill_in(f"{noted}\n\n{migrations()[number]}")


def vector_migration_sql(names: Names, number: int, schema: str | None) -> str:
    """Return the SQL of a migration of the tables for vectors.

    Args:
        names: The names of the tables.
        number: The number of the migration; 0 creates the migrations table.
        schema: The schema of the extension, quoted; None to rely on `search_path`.
    """
    if number == 0:
        return names.fill_in(_CREATE_VECTOR_MIGRATIONS)
    vector = "vector" if schema is None else f"{schema}.vector"
    noted = f"INSERT INTO {{vector_migrations}} (version) VALUES ({number});"
    return names.fill_in(f"{noted}\n\n{vector_migrations()[number]}", vector=vector)


def _unless_run(table: str, number: int, sql: str) -> str:
    """Return the SQL that runs a migration unless it was run before; the lock must be held."""
    return (
        f"DO $migration$ BEGIN\nIF NOT EXISTS (SELECT FROM {table} WHERE version = {number}) THEN\n"
        f"{sql}\nEND IF;\nEND $migration$;"
    )


def setup_sql(
    *,
    schema: str = "public",
    prefix: str = "swarmstate",
    since: int = 0,
    role: str | None = None,
    vectors: bool = False,
) -> str:
    """Return the SQL that creates what a store needs, for a role that may run it.

    It is one transaction, and waits for others that do the same. It skips migrations that
    were run before, so it can be run again, such as for another role. A store whose own
    role may create tables does all of this when it is first used.

    Args:
        schema: The schema; created if it does not exist.
        prefix: The prefix of the names of tables and functions.
        since: Leave out the migrations up to this number, which were run before.
        role: Also grant this role the privileges that a store needs.
        vectors: Also create the extension pgvector and the tables for vectors.

    Raises:
        ValueError: The schema or the prefix does not make valid names.
    """
    names = Names.of(schema, prefix)
    parts = [lock_sql(names), *setup_steps(names, schema_exists=schema == "public")]
    table, vector_table = names.fill_in("{migrations}"), names.fill_in("{vector_migrations}")
    parts += [
        _unless_run(table, number, migration_sql(names, number))
        for number in migrations()
        if number > since
    ]
    if vectors:
        parts += [_CREATE_EXTENSION, vector_migration_sql(names, 0, None)]
        parts += [
            _unless_run(vector_table, number, vector_migration_sql(names, number, None))
            for number in vector_migrations()
        ]
    if role is not None:
        parts.append(names.fill_in(_GRANT, role=quoted(role)))
        if vectors:
            parts.append(names.fill_in(_GRANT_VECTORS, role=quoted(role)))
    return "\n\n".join([_BEGIN, *parts, "COMMIT;"]) + "\n"
