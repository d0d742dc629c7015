"""Generated operations, with few names and values so that they collide."""

from __future__ import annotations

from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp

__all__ = ["batches", "semantic_batches"]

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
# For fields that filters order by: `InMemoryStore` raises if one is missing or not a number.
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


def batches() -> st.SearchStrategy[list[list[Op]]]:
    """Return sequences of batches of operations, most of them puts and searches."""
    operation = st.one_of(_puts, _puts, _gets, _searches, _searches, _listings)
    return st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=12)


# No text is both a title and a body: `InMemoryStore` fails if one put embeds a text twice.
_titles = st.sampled_from(["tea", "green tea", "milk", "a cat"])
_bodies = st.sampled_from(["the cat drinks milk", "tea is hot", "rain", "a hot rain"])
_documents = st.fixed_dictionaries(
    {"n": _numbers}, optional={"title": _titles, "body": st.lists(_bodies, max_size=2, unique=True)}
)
_indices = st.none() | st.just(False) | st.just(["title"]) | st.just(["body[*]"])
# Few places, so that searches find what was put.
_places = st.sampled_from([("acme",), ("acme", "a/b%"), ("acme-corp",)])
_document_puts = st.builds(PutOp, _places, _keys, st.none() | _documents, _indices, st.none())
_queries = st.none() | st.sampled_from(["tea", "hot milk", "a cat drinks"])
_semantic_searches = st.builds(
    SearchOp,
    st.just(()) | _places,
    st.none() | st.fixed_dictionaries({"n": _numbers | _order}),
    st.integers(0, 5) | st.just(20),
    st.integers(0, 3),
    _queries,
)


def semantic_batches() -> st.SearchStrategy[list[list[Op]]]:
    """Return sequences of puts of texts, deletions, and searches with or without a query."""
    operation = st.one_of(_document_puts, _document_puts, _semantic_searches)
    return st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=12)
