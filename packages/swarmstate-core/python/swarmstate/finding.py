"""Finding objects in long lists, for adapters.

`InstanceFinder` finds, by an attribute that is a text, those of many objects of plain classes:
messages by their ids. How it does so is in docs/design.md, under "Merging".
"""

from swarmstate._core import InstanceFinder

__all__ = ["InstanceFinder"]
