"""Tools for adapters that write records: parts shared between versions, and checks.

`Sharing` splits values into entries and blobs, and joins them again; `blob_hash`, `blob_home`
and `blob_names` compute the names of blobs. `seal` adds a checksum to a record, and `unseal`
verifies it. `check_entries` and `check_entry` check that the content of a record has the form of
entries. Three functions search records without decoding them: `follow_parents` searches
checkpoints, `select_writes` pending writes, and `newest_items` memory items.
docs/formats.md has the formats, and docs/design.md explains how sharing works.
"""

from swarmstate._core import (
    Sharing,
    Split,
    blob_hash,
    blob_home,
    blob_names,
    check_entries,
    check_entry,
    follow_parents,
    newest_items,
    seal,
    select_writes,
    unseal,
)

__all__ = [
    "Sharing",
    "Split",
    "blob_hash",
    "blob_home",
    "blob_names",
    "check_entries",
    "check_entry",
    "follow_parents",
    "newest_items",
    "seal",
    "select_writes",
    "unseal",
]
