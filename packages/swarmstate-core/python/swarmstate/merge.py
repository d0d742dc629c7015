"""Values that merge without conflict, in whatever order they were changed.

Branches that run separately (forks of a thread, parallel nodes, processes) each
change their own copy. Merging the copies gives the same value everywhere,
because `merge` is commutative, associative and idempotent. Values are immutable:
methods that change one return a new one.

Whoever changes a value passes its own name as `replica`. **A replica must be a single
writer: concurrent changes by two writers under one name cannot be distinguished**, and
some of them are lost. So if forks run on with the same nodes, their replica names need
the name of the fork, as in `f"{branch}/{node}"`. Names stay in the value forever; use a
bounded set of them.

The types are state-based replicated data types as in Shapiro, Preguiça, Baquero
and Zawirski, "A comprehensive study of convergent and commutative replicated data
types" (2011); the set is the one without tombstones of Bieniusa et al., "An
optimized conflict-free replicated set" (2012). docs/formats.md describes their encoding.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from swarmstate._checks import check_count
from swarmstate.codec import dumps

__all__ = ["GCounter", "LWWMap", "Mergeable", "ORSet", "PNCounter", "merge"]


class Mergeable(Protocol):
    """A value that merges with another of its kind, as `merge` and `store.merge` need it."""

    def merge(self, other: Any, /) -> Any:
        """Return the merged value; raise TypeError if `other` is of another kind."""


M = TypeVar("M", bound=Mergeable)


def merge(left: M, right: M) -> M:
    """Return `left.merge(right)`; a reducer for LangGraph's channels.

    `Annotated[GCounter, merge]` makes a channel that starts empty and merges the values
    that nodes return. A node returns a changed version of the value it was given.
    """
    merged: M = left.merge(right)
    return merged


@dataclass(frozen=True)
class GCounter:
    """A counter that only grows; merging takes the greater count of each replica.

    Attributes:
        counts: The count of each replica, an int above 0.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, which may come from anywhere."""
        object.__setattr__(self, "counts", _counts(self.counts, "counts"))

    @property
    def value(self) -> int:
        """The sum over all replicas."""
        return sum(self.counts.values())

    def increment(self, replica: str, by: int = 1) -> GCounter:
        """Return the counter increased by `by`, an int of at least 0.

        Raises:
            TypeError: `by` is not an integer.
            ValueError: `by` is negative.
        """
        check_count("by", by)
        return GCounter({**self.counts, replica: self.counts.get(replica, 0) + by})

    def merge(self, other: GCounter) -> GCounter:
        """Return the merged counter.

        Raises:
            TypeError: `other` is of another kind.
        """
        _check_kind(self, other)
        return GCounter(_greatest(self.counts, other.counts))


@dataclass(frozen=True)
class PNCounter:
    """A counter that goes up and down: two growing counters, one subtracted from the other.

    Attributes:
        added: The total that each replica added.
        taken: The total that each replica subtracted.
    """

    added: dict[str, int] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, which may come from anywhere."""
        object.__setattr__(self, "added", _counts(self.added, "added"))
        object.__setattr__(self, "taken", _counts(self.taken, "taken"))

    @property
    def value(self) -> int:
        """The sum of all additions minus the sum of all subtractions."""
        return sum(self.added.values()) - sum(self.taken.values())

    def increment(self, replica: str, by: int = 1) -> PNCounter:
        """Return the counter increased by `by`, which may be negative."""
        changed = self.added if by >= 0 else self.taken
        changed = {**changed, replica: changed.get(replica, 0) + abs(by)}
        return PNCounter(changed, self.taken) if by >= 0 else PNCounter(self.added, changed)

    def decrement(self, replica: str, by: int = 1) -> PNCounter:
        """Return the counter decreased by `by`."""
        return self.increment(replica, -by)

    def merge(self, other: PNCounter) -> PNCounter:
        """Return the merged counter.

        Raises:
            TypeError: `other` is of another kind.
        """
        _check_kind(self, other)
        return PNCounter(_greatest(self.added, other.added), _greatest(self.taken, other.taken))


@dataclass(frozen=True)
class LWWMap:
    """A map with str keys in which the last writer of a key wins.

    The entry with the greater time is the later one. Ties are broken by the greater replica,
    then removal wins, then the greater encoded value. A write takes the time of the clock,
    but always a later one than that of the entry it replaces. So whoever has seen an entry
    can replace it, however wrong the clocks are.

    A removed key leaves a tombstone; otherwise a copy that does not know of the removal
    would bring the key back. `compact` drops old tombstones.

    Attributes:
        entries: By key, `[time, replica, value]`, or `[time, replica]` if the key was removed.
            The time is in microseconds since the Unix epoch.
    """

    entries: dict[str, list[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, which may come from anywhere."""
        if not isinstance(self.entries, dict):
            raise TypeError(f"entries must be a dict, not {type(self.entries).__name__}")
        for key, entry in self.entries.items():
            match entry:
                case [int(), str()] | [int(), str(), _] if isinstance(key, str):
                    continue
            raise TypeError(
                "entries must map str to [time, replica] or [time, replica, value]; "
                f"found {entry!r:.100} for {key!r:.100}"
            )

    @property
    def value(self) -> dict[str, Any]:
        """The present keys and their values, in key order."""
        present = sorted(key for key, entry in self.entries.items() if len(entry) == 3)
        return {key: self.entries[key][2] for key in present}

    def __contains__(self, key: object) -> bool:
        return len(self.entries.get(key, ())) == 3  # type: ignore[call-overload] # any key may be asked for

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if the key is not present."""
        return self.entries[key][2] if key in self else default

    def set(self, key: str, value: Any, *, replica: str, at: float | None = None) -> LWWMap:
        """Return the map with a key set.

        Args:
            key: The key.
            value: Any value that the codec supports.
            replica: The writer's name.
            at: The time of the write in seconds since the Unix epoch; now by default.
        """
        return self._with(key, [self._time(key, at), replica, value])

    def remove(self, key: str, *, replica: str, at: float | None = None) -> LWWMap:
        """Return the map without a key; the arguments are those of `set`."""
        return self._with(key, [self._time(key, at), replica])

    def merge(self, other: LWWMap) -> LWWMap:
        """Return the merged map.

        Raises:
            TypeError: `other` is of another kind.
            EncodeError: Two values were set at the same time under one replica name, and the
                codec does not support them.
        """
        _check_kind(self, other)
        entries = dict(self.entries)
        for key, entry in other.entries.items():
            known = entries.get(key)
            if known is None or _is_later(entry, known):
                entries[key] = entry
        return _unchecked(self, entries=entries)

    def compact(self, before: float) -> LWWMap:
        """Return the map without the tombstones of keys removed before a given time.

        A copy that still has such a key brings it back when it is merged. So choose a time up
        to which all copies have been merged, or one that precedes every copy that is still to
        be merged.

        Args:
            before: The time, in seconds since the Unix epoch.
        """
        end = int(before * 1e6)
        kept = {key: each for key, each in self.entries.items() if len(each) == 3 or each[0] >= end}
        return _unchecked(self, entries=kept)

    def _time(self, key: str, at: float | None) -> int:
        now = time.time_ns() // 1_000 if at is None else int(at * 1e6)
        known = self.entries.get(key)
        return now if known is None else max(now, known[0] + 1)

    def _with(self, key: str, entry: list[Any]) -> LWWMap:
        return LWWMap({key: entry}).merge(self)


@dataclass(frozen=True)
class ORSet:
    """A set in which adding wins over a concurrent removal.

    Removing an element removes the additions of it that this copy has seen; others stay.
    Nothing is kept of removed elements: each replica numbers its additions, so the numbers
    show which of them a copy has seen.

    An element is anything that the codec supports as a dict key. Equal elements, such as
    1 and True, are the same element.

    Attributes:
        additions: For each element, the number of its addition by each replica.
        seen: For each replica, the number of its last addition that this copy has seen.
    """

    additions: dict[Any, dict[str, int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fields, which may come from anywhere."""
        if not isinstance(self.additions, dict):
            raise TypeError(f"additions must be a dict, not {type(self.additions).__name__}")
        seen = _counts(self.seen, "seen")
        for numbers in self.additions.values():
            for replica, number in _counts(numbers, "the additions of an element").items():
                if number > seen.get(replica, 0):
                    raise ValueError(
                        f"expected seen to include addition {number} of replica {replica!r}, "
                        f"found only {seen.get(replica, 0)}"
                    )
        object.__setattr__(self, "seen", seen)

    @property
    def value(self) -> set[Any]:
        """The elements."""
        return set(self.additions)

    def __contains__(self, element: Hashable) -> bool:
        return element in self.additions

    def __iter__(self) -> Iterator[Any]:
        return iter(self.additions)

    def __len__(self) -> int:
        return len(self.additions)

    def add(self, *elements: Hashable, replica: str) -> ORSet:
        """Return the set with these elements.

        Raises:
            TypeError: `replica` is not a str: the set could be stored, but not loaded.
            ValueError: An element is not equal to itself, such as NaN. It would become a
                different element when stored and loaded.
        """
        named: object = replica
        if not isinstance(named, str):
            raise TypeError(f"expected replica to be a str, found {named!r:.100}")
        for element in elements:
            if not _is_equal_to_itself(element):
                raise ValueError(f"expected an element equal to itself, found {element!r:.100}")
        if not elements:
            return self
        additions, last = dict(self.additions), self.seen.get(replica, 0)
        for number, element in enumerate(elements, last + 1):
            # This addition supersedes those of the element that this copy has seen.
            additions[element] = {replica: number}
        seen = _greatest(self.seen, {replica: last + len(elements)})
        return _unchecked(self, additions=additions, seen=seen)

    def remove(self, *elements: Hashable) -> ORSet:
        """Return the set without these elements; missing ones are ignored."""
        kept = {each: at for each, at in self.additions.items() if each not in elements}
        return _unchecked(self, additions=kept, seen=self.seen)

    def merge(self, other: ORSet) -> ORSet:
        """Return the merged set.

        Raises:
            TypeError: `other` is of another kind.
            ValueError: Two writers used the same replica name.
        """
        _check_kind(self, other)
        _check_one_writer(self, other)
        additions = {}
        for element in {**self.additions, **other.additions}:
            mine, others = self.additions.get(element, {}), other.additions.get(element, {})
            numbers = _greatest(
                _surviving(mine, others, other.seen), _surviving(others, mine, self.seen)
            )
            if numbers:
                additions[element] = numbers
        return _unchecked(self, additions=additions, seen=_greatest(self.seen, other.seen))


def _is_equal_to_itself(element: Hashable) -> bool:
    # Comparing a tuple or a frozenset treats identical items as equal, even NaN.
    if isinstance(element, tuple | frozenset):
        return all(map(_is_equal_to_itself, element))
    same = element
    return bool(element == same)


def _surviving(
    mine: dict[str, int], others: dict[str, int], seen: dict[str, int]
) -> dict[str, int]:
    """Return those of my additions that the other copy also has, or has not seen."""
    return {
        replica: number
        for replica, number in mine.items()
        if others.get(replica) == number or number > seen.get(replica, 0)
    }


def _check_one_writer(left: ORSet, right: ORSet) -> None:
    """Raise if two elements share one addition, which takes two writers."""
    mine = {
        each: element for element, numbers in left.additions.items() for each in numbers.items()
    }
    for element, numbers in right.additions.items():
        for replica, number in numbers.items():
            known = mine.get((replica, number), element)
            if known != element:
                raise ValueError(
                    f"expected replica {replica!r} to be a single writer, but its addition "
                    f"{number} is {known!r:.100} here and {element!r:.100} there; give each branch "
                    "its own replica name"
                )


def _is_later(entry: list[Any], known: list[Any]) -> bool:
    if entry[:2] != known[:2]:
        return bool(entry[:2] > known[:2])
    if len(entry) != len(known):
        return len(entry) < len(known)
    return len(entry) == 3 and dumps(entry[2]) > dumps(known[2])


def _counts(counts: Any, what: str) -> dict[str, int]:
    """Return counts sorted by replica, without zeros."""
    if not isinstance(counts, dict):
        raise TypeError(f"{what} must be a dict, not {type(counts).__name__}")
    for replica, count in counts.items():
        if not isinstance(replica, str) or type(count) is not int or count < 0:
            raise TypeError(
                f"{what} must map str to ints of at least 0; "
                f"found {count!r:.100} for {replica!r:.100}"
            )
    return {replica: counts[replica] for replica in sorted(counts) if counts[replica]}


def _greatest(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    greatest = {each: max(left.get(each, 0), right.get(each, 0)) for each in {**left, **right}}
    return dict(sorted(greatest.items()))


def _check_kind(mine: Mergeable, other: object) -> None:
    if type(mine) is not type(other):
        expected, found = type(mine).__name__, type(other).__name__
        raise TypeError(f"expected another {expected} to merge with, found {found}")


def _unchecked(like: M, **fields: Any) -> M:
    """Return a value whose parts were already checked."""
    made = object.__new__(type(like))
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
