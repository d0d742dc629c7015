"""Generated operations: few names and few values, so that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp

__all__ = ["batches"]

_labels = st.sampled_from(["acme", "acme-corp", "a/b%", "john_doe", "é🎉", "*"])
_namespaces = st.lists(_labels, min_size=1, max_size=3).map(tuple)
_prefixes = st.lists(_labels, max_size=3).map(tuple)
_keys = st.sampled_from(["k", "k/1", "%2F", "", "ключ"])

_scalars = st.sampled_from([None, True, False, 0, 1, 1.0, -2.5, 10**18, "", "1", "red", "\x1f\n"])
_trees = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    ),
    max_leaves=5,
)
# What orders are asked of: `InMemoryStore` raises if it is missing or no number.
_numbers = st.sampled_from([0, 1, 2.5, -3, "4", 10**6])
_values = st.fixed_dictionaries({"n": _numbers}, optional={"t": _trees, "tag": _scalars})

_order = st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), _numbers, min_size=1, max_size=2
)
_equality = st.dictionaries(st.sampled_from(["$eq", "$ne"]), _trees, min_size=1)
_filters = st.none() | st.fixed_dictionaries(
    {}, optional={"n": _numbers | _order, "t": _trees | _equality, "tag": _scalars, "no": _scalars}
)

_conditions = st.builds(
    MatchCondition, st.sampled_from(["prefix", "suffix"]), _prefixes.filter(bool)
)
_gets = st.builds(GetOp, _namespaces, _keys)
_searches = st.builds(
    SearchOp, _prefixes, _filters, st.integers(0, 12), st.integers(0, 3), st.none()
)
_listings = st.builds(
    ListNamespacesOp,
    st.lists(_conditions, max_size=2).map(tuple),
    st.none() | st.integers(0, 3),
    st.integers(0, 5) | st.just(100),
    st.integers(0, 2),
)
_puts = st.builds(PutOp, _namespaces, _keys, st.none() | _values, st.none(), st.none())


def batches(searches: st.SearchStrategy[Any] = _searches) -> st.SearchStrategy[list[list[Op]]]:
    """Return sequences of batches of operations, most of them puts and searches."""
    operation = st.one_of(_puts, _puts, _gets, searches, searches, _listings)
    return st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=12)
