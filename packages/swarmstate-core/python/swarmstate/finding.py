"""Find objects in long lists, for adapters.

`InstanceFinder` finds objects of plain classes in a long list by a str attribute, such as
messages by their ids. docs/design.md explains how, under "Merging".
"""

from swarmstate._core import InstanceFinder

__all__ = ["InstanceFinder"]
