"""The error messages of a store."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def messages_of(call: Callable[[], object], error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)
