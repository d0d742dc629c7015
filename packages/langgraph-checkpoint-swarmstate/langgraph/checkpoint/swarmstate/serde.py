"""LangGraph's serializer, implemented with swarmstate's codec."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from swarmstate import Codec
from swarmstate.errors import EncodeError

__all__ = ["SwarmStateSerializer"]


class SwarmStateSerializer(JsonPlusSerializer):
    """A faster `JsonPlusSerializer` that loses nothing.

    It takes the same arguments and follows the same rules about classes, including
    strict mode. Each serializer reads what the other wrote, and where the stock one
    is lossless, both write the same bytes. Values that the stock one loses or
    refuses, such as ints beyond 64 bits, `OrderedDict` or dates as keys, come back
    unchanged; docs/formats.md lists them. What cannot be preserved is refused.

    Raises:
        EncodeError: (a TypeError) On dumping; the message has the path to the offending value.
        DecodeError: (a ValueError) On loading damaged bytes.
    """

    def with_msgpack_allowlist(
        self, extra_allowlist: Iterable[tuple[str, ...] | type]
    ) -> SwarmStateSerializer:
        """Return a serializer that also allows these classes; self if it already does."""
        clone = super().with_msgpack_allowlist(extra_allowlist)
        assert isinstance(clone, SwarmStateSerializer)
        if clone is not self:
            clone.__dict__.pop("_codec", None)
        return clone

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Return the type tag and the bytes of `obj`; tags are those of the stock serializer."""
        if obj is None or isinstance(obj, (bytes, bytearray)):
            return super().dumps_typed(obj)
        try:
            return "msgpack", self._codec.dumps(obj)
        except EncodeError:
            if self.pickle_fallback:
                return "pickle", pickle.dumps(obj)
            raise

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Return the value for a type tag and bytes; tags are those of the stock serializer."""
        if data[0] == "msgpack" and not self._has_own_hook():
            return self._codec.loads(data[1])
        return super().loads_typed(data)

    @property
    def plain_codec(self) -> Codec | None:
        """The codec, if it alone writes and reads this serializer's bytes; otherwise None."""
        return None if self.pickle_fallback or self._has_own_hook() else self._codec

    def _has_own_hook(self) -> bool:
        """Whether the user passed a hook for msgpack ext values."""
        return self._custom_unpack_ext_hook

    @cached_property
    def _codec(self) -> Codec:
        """A codec that asks the installed LangGraph which classes are allowed.

        LangGraph's rule, with its events and warnings, exists only inside its ext hook.
        Taking it from there guarantees that both follow the same rule.
        """
        check, check_method = self._rule()
        return Codec.delegated(
            safe=self._silently_allowed(),
            check=check,
            check_method=check_method,
            fallback=self._stand_in,
        )

    def _stand_in(
        self, module: str, name: str, payload: Any, error: Exception, is_model: bool
    ) -> Any:
        """Return the stand-in for an object that could not be rebuilt: its serialized parts."""
        if is_model:
            # LangGraph returns the fields of a model without a warning.
            return payload
        return jsonplus._reconstruction_fallback((module, name, payload), error)

    def _rule(self) -> tuple[Callable[[str, str], bool], Callable[[str, str, str], bool]]:
        """Return the checks of whether a class, and a method of a class, may be used."""
        if self._has_own_hook():
            return _allow, _allow
        rule = inspect.getclosurevars(self._unpack_ext_hook).nonlocals
        return rule["_check_allowed"], rule["_check_allowed_method"]

    def _silently_allowed(self) -> set[tuple[str, str]]:
        """Return the classes that LangGraph's rule allows without an event."""
        names: set[tuple[str, ...]] = set(SAFE_MSGPACK_TYPES)
        # These are built from checked plain data, and a store's own codec allows them too.
        names |= {
            ("swarmstate.merge", name) for name in ("GCounter", "LWWMap", "ORSet", "PNCounter")
        }
        if isinstance(self._allowed_msgpack_modules, set):
            names |= self._allowed_msgpack_modules
        return {(name[0], name[1]) for name in names if len(name) == 2}


def _allow(*_name: str) -> bool:
    return True
