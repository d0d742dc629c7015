"""The exception tree of swarmstate.

    SwarmStateError
    ├── InvalidNameError        (ValueError)   a namespace or key that cannot be stored
    ├── InvalidConfigError      (ValueError)   a config that lacks what an operation needs
    ├── CodecError              (ValueError)
    │   ├── EncodeError         (TypeError)    a value that cannot be encoded
    │   ├── DecodeError                        bytes that are not a valid encoding
    │   └── TypeNotAllowedError                a class that is not allowed
    ├── StoreError
    │   ├── StoreClosedError                   used after close()
    │   ├── StoreUnavailableError              cannot be opened or reached, disk full, lock timeout
    │   ├── StoreReadOnlyError                 a write to a read-only store
    │   ├── StoreFormatError                   not a swarmstate store, damaged, or a newer format
    │   │   └── StoreIncompleteError           a namespace with a part missing
    │   ├── EncryptionError                    a value that is not encrypted, was changed or moved
    │   └── ConflictError                      a batch whose expectation did not hold
    ├── CheckpointError                        a stored checkpoint that is damaged or incomplete
    ├── ItemError                              a stored memory item that is damaged or incomplete
    ├── EmbeddingError          (ValueError)   an embedding that is invalid or not finite
    │   └── DimensionError                     an embedding whose dimension differs from stored ones
    ├── InvalidFilterError      (ValueError)   a filter that cannot be understood
    ├── ConditionError          (ValueError)   a condition that cannot be parsed or evaluated
    ├── GraphError              (ValueError)   a graph operation that is not possible or not allowed
    └── UnknownSchemeError      (ValueError)   a URL that no installed store opens

Messages say what was expected, what was found and what to do. Add-on
distributions subclass these, so one `except SwarmStateError` catches everything.
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
    """Base class of all exceptions that swarmstate itself raises."""


class InvalidNameError(SwarmStateError, ValueError):
    """A namespace or key is empty, or contains NUL or a lone surrogate."""


class InvalidConfigError(SwarmStateError, ValueError):
    """A framework's config lacks what an operation needs."""


class CodecError(SwarmStateError, ValueError):
    """A value or its bytes cannot be converted."""


class EncodeError(CodecError, TypeError):
    """A value cannot be encoded; the message gives its type and what to do."""


class DecodeError(CodecError):
    """Bytes are truncated, malformed or nested too deeply."""


class TypeNotAllowedError(CodecError):
    """Bytes name a class that the reader is not allowed to construct."""


class StoreError(SwarmStateError):
    """A store cannot do what it was asked to do."""


class StoreClosedError(StoreError):
    """The store was used after `close()`."""

    def __init__(
        self,
        message: str = "the store is closed (leaving a `with` block closes it): use it inside the "
        "block, or open a new one",
    ) -> None:
        """Take a message; the default one says what to do."""
        super().__init__(message)


class StoreUnavailableError(StoreError):
    """The storage cannot currently be opened, reached or written."""


class StoreReadOnlyError(StoreError):
    """A read-only store was asked to write."""


class StoreFormatError(StoreError):
    """The storage is not a swarmstate store, is damaged, or has a newer format."""


class EncryptionError(StoreError):
    """A value is not encrypted, is not the one stored there, or its key is missing."""


class StoreIncompleteError(StoreFormatError):
    """Part of a namespace is missing, such as after an eviction; the rest is not served."""


class ConflictError(StoreError):
    """A batch's expectation did not hold; nothing in the batch was applied."""


class CheckpointError(SwarmStateError):
    """A stored checkpoint is damaged or incomplete; the message names it."""


class ItemError(SwarmStateError):
    """A stored memory item is damaged or incomplete; the message names it."""


class UnknownSchemeError(SwarmStateError, ValueError):
    """No installed store handles this URL; the message says what to install."""


class EmbeddingError(SwarmStateError, ValueError):
    """An embedding is empty, too long, not numeric, or contains NaN or an infinity."""


class DimensionError(EmbeddingError):
    """An embedding's dimension differs from that of the stored ones.

    Attributes:
        stored: The dimension of the stored embeddings.
        given: The dimension of this one.
        advice: The alternative to using the same model.
    """

    def __init__(self, stored: int, given: int, advice: str = "clear the collection") -> None:
        """Keep both dimensions and the advice."""
        super().__init__(stored, given, advice)
        self.stored = stored
        self.given = given
        self.advice = advice

    def __str__(self) -> str:
        """Return the message, which says what to do."""
        return (
            f"expected an embedding of {self.stored} dimensions, like the stored ones, but "
            f"this one has {self.given}: use the model that made them, or {self.advice}"
        )


class InvalidFilterError(SwarmStateError, ValueError):
    """A filter is not a mapping, or uses an unknown operator."""


class ConditionError(SwarmStateError, ValueError):
    """A condition cannot be parsed, or evaluated on a state; the message shows where."""


class GraphError(SwarmStateError, ValueError):
    """A graph operation is not possible or not allowed, such as routing from an unknown node."""
