"""What refers to threads begins anew in a forked child, which has none of them."""

from __future__ import annotations

import os
from typing import Any


def renew_in_children(made: Any) -> None:
    """Call `made.__init__()` in each child that is forked: its locks may be held by a lost thread.

    Args:
        made: What lives as long as the process, and is made without arguments.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.__init__)
