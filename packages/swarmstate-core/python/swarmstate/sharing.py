"""Making records, for adapters: values as parts that their versions share, and checks.

`Sharing` splits values into entries and blobs, and joins them; `blob_hash`, `blob_home` and
`blob_names` say what blobs are called. `seal` puts a check around a record, which `unseal`
looks at; `check_entries` and `check_entry` look whether what was in it has the form of entries,
and `newest_items` finds the newest of memories without decoding them.
The formats are in docs/formats.md, how sharing works in docs/design.md.
"""

from swarmstate._core import (
    Sharing,
    Split,
    blob_hash,
    blob_home,
    blob_names,
    check_entries,
    check_entry,
    newest_items,
    seal,
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
    "newest_items",
    "seal",
    "unseal",
]
