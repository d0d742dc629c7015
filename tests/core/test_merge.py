"""Values that merge: the laws, what they converge to, and merging in a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarmstate import Store, dumps, loads
from swarmstate.errors import DecodeError, TypeNotAllowedError
from swarmstate.merge import GCounter, LWWMap, ORSet, PNCounter, merge

Value: TypeAlias = "GCounter | PNCounter | LWWMap | ORSet"

REPLICAS = ["a", "b", "c"]
KEYS = ["x", "y"]


@dataclass
class Longest:
    text: str

    def merge(self, other: Longest) -> Longest:
        return max(self, other, key=lambda each: (len(each.text), each.text))


# The actions of a replica: merge another's state, or change its own.
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(REPLICAS),
        st.sampled_from(["merge", "up", "down"]),
        st.sampled_from(REPLICAS),
        st.sampled_from([*KEYS, 1, True, (1, "t"), None]),
        st.integers(0, 4),
    ),
    max_size=25,
)


def change(value: Any, replica: str, up: bool, element: Hashable, number: int) -> Any:
    match value:
        case GCounter():
            return value.increment(replica, number)
        case PNCounter():
            return value.increment(replica, number) if up else value.decrement(replica, number)
        case LWWMap() if up:
            return value.set(str(element), number, replica=replica, at=number)
        case LWWMap():
            return value.remove(str(element), replica=replica, at=number)
        case ORSet():
            return value.add(element, replica=replica) if up else value.remove(element)
    raise AssertionError(value)


def play(start: Value, actions: list[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return what the replicas hold at the end, and every state along the way."""
    held: dict[str, Any] = dict.fromkeys(REPLICAS, start)
    states = [start]
    for replica, what, other, element, number in actions:
        if what == "merge":
            held[replica] = merge(held[replica], held[other])
        else:
            held[replica] = change(held[replica], replica, what == "up", element, number)
        states.append(held[replica])
    return held, states


KINDS = pytest.mark.parametrize("kind", [GCounter, PNCounter, LWWMap, ORSet])


@KINDS
@given(actions=ACTIONS, picked=st.tuples(*[st.integers(0, 99)] * 3))
def test_laws(kind: Callable[[], Any], actions: list[Any], picked: tuple[int, int, int]) -> None:
    _, states = play(kind(), actions)
    a, b, c = (states[number % len(states)] for number in picked)
    assert merge(a, b) == merge(b, a)
    assert merge(a, merge(b, c)) == merge(merge(a, b), c)
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)
    assert merge(kind(), a) == a


@KINDS
@given(actions=ACTIONS)
def test_bytes_keep_the_value(kind: Callable[[], Any], actions: list[Any]) -> None:
    held, _ = play(kind(), actions)
    for value in held.values():
        again = loads(dumps(value))
        assert type(again) is type(value)
        assert again == value
        assert dumps(again) == dumps(value)
        assert change(again, "d", True, "z", 1) != again


@given(actions=ACTIONS)
def test_counters_count_everything_once(actions: list[Any]) -> None:
    grown, _ = play(GCounter(), actions)
    net, _ = play(PNCounter(), actions)
    counted = [(what, number) for _, what, _, _, number in actions if what != "merge"]
    everything = [merge(merge(held["a"], held["b"]), held["c"]) for held in (grown, net)]
    assert everything[0].value == sum(number for _, number in counted)
    assert everything[1].value == sum(n if what == "up" else -n for what, n in counted)


@given(actions=ACTIONS)
def test_a_set_holds_what_was_added_and_not_removed_by_who_had_seen_it(actions: list[Any]) -> None:
    held, _ = play(ORSet(), actions)
    # The plain definition: unique additions, and removals that name the additions they have seen.
    additions: dict[str, set[tuple[int, Any]]] = {each: set() for each in REPLICAS}
    removed: dict[str, set[tuple[int, Any]]] = {each: set() for each in REPLICAS}
    for number, (replica, what, other, element, _) in enumerate(actions):
        if what == "merge":
            additions[replica] |= additions[other]
            removed[replica] |= removed[other]
        elif what == "up":
            additions[replica].add((number, element))
        else:
            removed[replica] |= {each for each in additions[replica] if each[1] == element}
    for replica in REPLICAS:
        expected = {element for _, element in additions[replica] - removed[replica]}
        assert held[replica].value == expected
        assert len(held[replica]) == len(expected)
        assert all(element in held[replica] for element in expected)


@given(actions=ACTIONS)
def test_a_set_keeps_nothing_of_what_was_removed(actions: list[Any]) -> None:
    held, _ = play(ORSet(), actions)
    everything = merge(merge(held["a"], held["b"]), held["c"])
    empty = everything.remove(*everything.value)
    assert empty.additions == {}
    assert set(empty.seen) <= set(REPLICAS)


@given(actions=ACTIONS)
def test_the_last_writer_wins(actions: list[Any]) -> None:
    held, states = play(LWWMap(), actions)
    everything = merge(merge(held["a"], held["b"]), held["c"])
    # Writes are ordered by time and replica; only a later write may override a replica's write.
    for key in {key for state in states for key in state.entries}:
        last = max(state.entries[key][:2] for state in states if key in state.entries)
        assert everything.entries[key][:2] == last


def test_who_has_seen_a_write_overrules_it_whatever_the_clocks_say() -> None:
    ahead = LWWMap().set("k", "future", replica="a", at=4e9)
    assert ahead.set("k", "now", replica="b").get("k") == "now"
    removed = ahead.remove("k", replica="b")
    assert "k" not in removed
    assert merge(ahead, removed).value == {}
    assert merge(ahead, removed).get("k", "none") == "none"


@pytest.mark.parametrize(("left", "right"), [(1, 2), ("a", None), ([1], {"a": 1})])
def test_writes_at_one_time_under_one_name_have_one_winner(left: Any, right: Any) -> None:
    a = LWWMap().set("k", left, replica="a", at=1)
    b = LWWMap().set("k", right, replica="a", at=1)
    gone = LWWMap().remove("k", replica="a", at=1)
    assert merge(a, b) == merge(b, a)
    assert merge(a, gone) == merge(gone, a) == gone


def test_compacting_drops_old_tombstones_only() -> None:
    value = LWWMap().set("kept", 1, replica="a", at=1).set("old", 1, replica="a", at=1)
    value = value.remove("old", replica="a", at=10).remove("new", replica="a", at=20)
    compacted = value.compact(before=20)
    assert set(compacted.entries) == {"kept", "new"}
    assert compacted.value == value.value
    assert value.compact(before=10) == value


def test_one_replica_of_two_writers_is_noticed() -> None:
    start = ORSet().add("seen", replica="a")
    left, right = start.add("x", replica="a"), start.add("y", replica="a")
    with pytest.raises(ValueError, match=r"replica 'a' to be a single writer.*'x'.*'y'"):
        merge(left, right)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (GCounter, {"counts": [1]}),
        (GCounter, {"counts": {"a": -1}}),
        (GCounter, {"counts": {"a": True}}),
        (GCounter, {"counts": {1: 1}}),
        (PNCounter, {"taken": {"a": 0.5}}),
        (LWWMap, {"entries": {"k": [1]}}),
        (LWWMap, {"entries": {"k": ["a", 1, 2]}}),
        (LWWMap, {"entries": {1: [1, "a", 2]}}),
        (LWWMap, {"entries": None}),
        (ORSet, {"additions": {"x": {"a": 1}}}),
        (ORSet, {"additions": {"x": 1}}),
        (ORSet, {"additions": []}),
    ],
)
def test_what_is_none_is_refused(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        kind(**fields)
    made = object.__new__(kind)
    for name, value in {**vars(kind()), **fields}.items():
        object.__setattr__(made, name, value)
    with pytest.raises(DecodeError):
        loads(dumps(made))


def test_counters_refuse_to_shrink() -> None:
    with pytest.raises(ValueError, match="at least 0, found -1"):
        GCounter().increment("a", -1)


@pytest.mark.parametrize("other", [PNCounter(), ORSet(), 3, None])
def test_other_kinds_are_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="expected another GCounter to merge with, found"):
        merge(GCounter(), other)
    store = Store()
    store.set("n", "k", GCounter().increment("a"))
    with pytest.raises(TypeError, match="expected another GCounter"):
        store.merge("n", "k", other)
    assert store.get("n", "k").value == 1


def test_merging_in_a_store() -> None:
    store = Store()
    first = GCounter().increment("a", 2)
    assert store.merge("n", "k", first, ttl=60) == first
    assert store.get("n", "k") == first
    assert store.merge("n", "k", GCounter().increment("b")).value == 3
    assert store.get("n", "k").value == 3
    assert store.merge("n", "k", first, ttl=math.inf).value == 3


def test_classes_of_users_merge() -> None:
    store = Store(allow=[Longest])
    store.merge("n", "k", Longest("one"))
    assert store.merge("n", "k", Longest("three")).text == "three"
    assert store.merge("n", "k", Longest("two")) == store.get("n", "k") == Longest("three")
    with pytest.raises(TypeNotAllowedError):
        Store().merge("n", "k", Longest("one"))


def test_adding_nothing_changes_nothing() -> None:
    assert ORSet().add(replica="a") == ORSet()
    some = ORSet().add("x", replica="a")
    assert some.add(replica="b") == loads(dumps(some.add(replica="b"))) == some


@pytest.mark.parametrize(
    "change",
    [
        lambda replica: GCounter().increment(replica),
        lambda replica: PNCounter().decrement(replica),
        lambda replica: LWWMap().set("k", 1, replica=replica),
        lambda replica: ORSet().add("x", replica=replica),
        lambda replica: ORSet().add(replica=replica),
    ],
    ids=["GCounter", "PNCounter", "LWWMap", "ORSet", "nothing added"],
)
def test_a_replica_that_could_not_be_loaded_again_is_refused(change: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        change(3)


@pytest.mark.parametrize("element", [math.nan, (1, math.nan), frozenset({(math.nan,)})], ids=repr)
def test_what_is_not_equal_to_itself_is_no_element(element: Any) -> None:
    with pytest.raises(ValueError, match="expected an element equal to itself"):
        ORSet().add("x", element, replica="a")


def test_what_does_not_merge_is_refused_and_stays_as_it_is() -> None:
    store = Store()
    with pytest.raises(TypeError, match=r"expected a mergeable value.*found int"):
        store.merge("n", "new", 3)  # type: ignore[type-var]  # invalid on purpose
    assert not store.contains("n", "new")
    store.set("n", "k", 3)
    with pytest.raises(TypeError, match=r"the value of 'k' in namespace 'n'.*found int"):
        store.merge("n", "k", GCounter())
    assert store.get("n", "k") == 3
