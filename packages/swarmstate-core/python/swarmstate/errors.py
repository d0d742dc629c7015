"""The exception tree of swarmstate.

    SwarmStateError
    ├── InvalidNameError        (ValueError)   a namespace or key that cannot be stored
    ├── InvalidConfigError      (ValueError)   a config that does not say what is needed
    ├── CodecError              (ValueError)
    │   ├── EncodeError         (TypeError)    a value that cannot be encoded
    │   ├── DecodeError                        bytes that are not what they should be
    │   └── TypeNotAllowedError                a class outside the allowed ones
    ├── StoreError
    │   ├── StoreClosedError                   used after close()
    │   ├── StoreUnavailableError              cannot be opened or reached, disk full, lock timeout
    │   ├── StoreReadOnlyError                 a write to a store that can only be read
    │   ├── StoreFormatError                   not a swarmstate store, damaged, or of a newer format
    │   │   └── StoreIncompleteError           a namespace of which a part is missing
    │   ├── EncryptionError                    a value that is not encrypted, was changed or moved
    │   └── ConflictError                      a batch whose expectation did not hold
    ├── CheckpointError                        a stored checkpoint that is damaged or incomplete
    ├── ItemError                              a stored item of memory that is damaged or incomplete
    ├── EmbeddingError          (ValueError)   an embedding that is none, or not finite
    │   └── DimensionError                     of another dimension than those that are stored
    ├── InvalidFilterError      (ValueError)   a filter that cannot be understood
    ├── ConditionError          (ValueError)   a condition that cannot be parsed or asked
    ├── GraphError              (ValueError)   a graph that cannot be as it is asked to be
    └── UnknownSchemeError      (ValueError)   a URL that no installed store opens

Messages say what was expected, what was found and what to do. Add-on
distributions subclass these, so one `except SwarmStateError` is enough.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CodecError",
    "ConditionError",
    "ConflictError",
    "DecodeError",
    "DimensionError",
    "EmbeddingError",
    "EncodeError",
    "EncryptionError",
    "GraphError",
    "InvalidConfigError",
    "InvalidFilterError",
    "InvalidNameError",
    "ItemError",
    "StoreClosedError",
    "StoreError",
    "StoreFormatError",
    "StoreIncompleteError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "SwarmStateError",
    "TypeNotAllowedError",
    "UnknownSchemeError",
]


class SwarmStateError(Exception):
    """Base of every exception that swarmstate raises on its own account."""


class InvalidNameError(SwarmStateError, ValueError):
    """A namespace or key is empty, or holds NUL or a lone surrogate."""


class InvalidConfigError(SwarmStateError, ValueError):
    """A framework's config does not say what an operation needs."""


class CodecError(SwarmStateError, ValueError):
    """A value or its bytes cannot be converted."""


class EncodeError(CodecError, TypeError):
    """A value cannot be encoded; the message names its type and what to do."""


class DecodeError(CodecError):
    """Bytes are truncated, malformed or nested too deeply."""


class TypeNotAllowedError(CodecError):
    """Bytes name a class that the reader does not allow to be constructed."""


class StoreError(SwarmStateError):
    """A store cannot do what was asked of it."""


class StoreClosedError(StoreError):
    """The store was used after `close()`."""

    def __init__(
        self,
        message: str = "the store is closed, as at the end of a `with` block: use it inside the "
        "block, or open a new one",
    ) -> None:
        """Say what to do."""
        super().__init__(message)


class StoreUnavailableError(StoreError):
    """The storage cannot be opened, reached or written at this moment."""


class StoreReadOnlyError(StoreError):
    """A write was asked of a store that can only be read."""


class StoreFormatError(StoreError):
    """The storage is not a swarmstate store, is damaged, or has a newer format."""


class EncryptionError(StoreError):
    """A value is not encrypted, not the one that was stored there, or its key is missing."""


class StoreIncompleteError(StoreFormatError):
    """A part of a namespace is missing, such as after an eviction; the rest is not served."""


class ConflictError(StoreError):
    """A batch's expectation did not hold; nothing of the batch was applied."""


class CheckpointError(SwarmStateError):
    """A stored checkpoint is damaged or incomplete; the message names it."""


class ItemError(SwarmStateError):
    """A stored item of an agent's memory is damaged or incomplete; the message names it."""


class UnknownSchemeError(SwarmStateError, ValueError):
    """No installed store opens this URL; the message says what to install."""


class EmbeddingError(SwarmStateError, ValueError):
    """An embedding is empty, too long, not numeric, or holds NaN or an infinity."""


class DimensionError(EmbeddingError):
    """An embedding has another dimension than those that are stored.

    Attributes:
        stored: The dimension of the stored embeddings.
        given: The dimension of this one.
        advice: What to do besides using the same model.
    """

    def __init__(self, stored: int, given: int, advice: str = "clear the collection") -> None:
        """Keep both dimensions, and what to do."""
        super().__init__(stored, given, advice)
        self.stored = stored
        self.given = given
        self.advice = advice

    def __str__(self) -> str:
        """Say what to do."""
        return (
            f"expected an embedding of {self.stored} dimensions, as the stored ones have, but "
            f"this one has {self.given}: use the model they were made with, or {self.advice}"
        )


class InvalidFilterError(SwarmStateError, ValueError):
    """A filter is no mapping, or has an operator that does not exist."""


class ConditionError(SwarmStateError, ValueError):
    """A condition cannot be parsed, or cannot be asked of a state; the message shows where."""


class GraphError(SwarmStateError, ValueError):
    """A graph has no such node, has it already, or would have what it cannot or may not have."""
