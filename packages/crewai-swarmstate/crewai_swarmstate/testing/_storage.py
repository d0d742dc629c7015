"""The contract of a memory storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import pytest
from crewai.memory.storage import backend
from crewai.memory.storage.backend import StorageBackend

from crewai_swarmstate.testing._records import EPOCH, ids, record
from crewai_swarmstate.testing._shared import SharedStorageContract

__all__ = ["StorageBackendContract"]


class _Kind(str, Enum):
    FACT = "fact"


class _Level(IntEnum):
    LOW = 1


class StorageBackendContract(SharedStorageContract):
    """What every `StorageBackend` must do.

    Attributes:
        defects: Names of the tests that this storage is known to fail. They still run, and an
            unexpected pass fails the suite.
    """

    def test_it_is_a_storage_backend(self, storage: StorageBackend) -> None:
        """CrewAI's runtime check accepts it."""
        assert isinstance(storage, StorageBackend)

    def test_an_empty_storage_answers(self, storage: StorageBackend) -> None:
        """Every query of an empty storage has an empty answer."""
        assert storage.search([1.0, 0.0, 0.0]) == []
        assert storage.list_records() == []
        assert storage.list_scopes() == []
        assert storage.list_categories() == {}
        assert storage.count() == 0
        assert storage.get_record("unknown") is None
        assert storage.delete(record_ids=["unknown"]) == 0
        assert storage.get_scope_info("/").record_count == 0
        storage.save([])
        storage.reset()
        assert storage.count() == 0

    def test_a_record_comes_back_whole(self, storage: StorageBackend) -> None:
        """Every field is kept, including the embedding."""
        saved = record(
            "id",
            [0.25, -0.5, 2.0],
            scope="/crew/a",
            categories=["z", "ü", "a"],
            metadata={"n": 1, "nested": {"list": [1, "a", None]}},
            importance=0.75,
            source="user",
            private=True,
        )
        storage.save([saved])
        found = storage.get_record("id")
        assert found is not None
        assert found.model_dump() == saved.model_dump()
        assert found.embedding == saved.embedding
        assert found.created_at.tzinfo is None

    def test_times_are_naive_utc(self, storage: StorageBackend) -> None:
        """Times with a zone are converted, because CrewAI compares them with naive ones."""
        east = timezone(timedelta(hours=2))
        there = (EPOCH + timedelta(hours=2, microseconds=1)).replace(tzinfo=east)
        storage.save([record("id", created_at=there, last_accessed=there)])
        found = storage.get_record("id")
        assert found is not None
        assert found.created_at == found.last_accessed == EPOCH + timedelta(microseconds=1)
        assert found.created_at.tzinfo is None
        assert storage.delete(older_than=EPOCH) == 0
        assert storage.delete(older_than=EPOCH + timedelta(microseconds=2)) == 1

    def test_a_scope_comes_back_as_it_was_written(self, storage: StorageBackend) -> None:
        """Normalizing a scope for comparison does not change how it is shown."""
        storage.save([record("id", scope="/crew/a/")])
        assert [each.scope for each in storage.list_records("/crew/a")] == ["/crew/a/"]

    def test_search_returns_embeddings(self, storage: StorageBackend) -> None:
        """The results of search and list can be written back by update."""
        storage.save([record("id", [0.5, 0.5, 0.0])])
        [(found, _)] = storage.search([1.0, 0.0, 0.0])
        assert found.embedding == [0.5, 0.5, 0.0]
        assert [each.embedding for each in storage.list_records()] == [[0.5, 0.5, 0.0]]

    def test_ids_and_content_may_hold_anything(self, storage: StorageBackend) -> None:
        """Quotes, wildcards and line breaks are data."""
        names = ["o'clock", 'say "hi"', "50%_x", "a\nb", "ü\U0001f600", "x" * 300]
        storage.save([record(name, content=f"{name}\x01") for name in names])
        for name in names:
            found = storage.get_record(name)
            assert found is not None
            assert found.content == f"{name}\x01"
        assert storage.delete(record_ids=["o'clock"]) == 1
        assert storage.count() == len(names) - 1

    def test_the_nearest_come_first(self, storage: StorageBackend) -> None:
        """Search orders by similarity, best first, and respects the limit."""
        storage.save(
            [
                record("far", [0.0, 0.0, 1.0]),
                record("near", [0.9, 0.1, 0.0]),
                record("same", [1.0, 0.0, 0.0]),
            ]
        )
        found = storage.search([1.0, 0.0, 0.0], limit=3)
        assert ids(found) == ["same", "near", "far"]
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert ids(storage.search([1.0, 0.0, 0.0], limit=1)) == ["same"]

    def test_scores_are_those_that_crewai_is_tuned_to(self, storage: StorageBackend) -> None:
        """The score is 1 / (1 + squared distance): 1 for the same vector, 1/3 at a right angle."""
        storage.save([record("same", [1.0, 0.0, 0.0]), record("right", [0.0, 1.0, 0.0])])
        scores = {each.id: score for each, score in storage.search([1.0, 0.0, 0.0])}
        assert scores["same"] == pytest.approx(1.0, abs=1e-6)
        assert scores["right"] == pytest.approx(1 / 3, abs=1e-6)

    def test_min_score_leaves_out_the_distant(self, storage: StorageBackend) -> None:
        """Only records that are similar enough are returned."""
        storage.save([record("same", [1.0, 0.0, 0.0]), record("right", [0.0, 1.0, 0.0])])
        assert ids(storage.search([1.0, 0.0, 0.0], min_score=0.5)) == ["same"]

    @pytest.mark.parametrize("everything", [None, "", "/"])
    def test_no_scope_is_everything(self, scoped: StorageBackend, everything: str | None) -> None:
        """None, "" and "/" mean everything below the root."""
        assert scoped.count(everything) == 6
        assert len(scoped.list_records(everything)) == 6
        assert len(scoped.search([1.0, 0.0, 0.0], scope_prefix=everything)) == 6

    @pytest.mark.parametrize("scope", ["/crew/a", "/crew/a/"])
    def test_a_scope_is_itself_and_what_is_below(self, scoped: StorageBackend, scope: str) -> None:
        """A scope includes its sub-scopes; a slash at its end changes nothing."""
        assert scoped.count(scope) == 2
        assert ids(scoped.list_records(scope)) == ["a2", "a1"]
        assert ids(scoped.search([1.0, 0.0, 0.0], scope_prefix=scope)) == ["a1", "a2"]

    def test_scopes_end_at_a_segment(self, storage: StorageBackend) -> None:
        """`/crew/a` is neither a prefix of `/crew/ab` nor a pattern."""
        names = ["/crew/a", "/crew/ab", "/crew/a_b", "/crew/a%b", "/crew/a/b"]
        storage.save([record(name, scope=name) for name in names])
        expected = ["/crew/a", "/crew/a/b"]
        assert sorted(ids(storage.list_records("/crew/a"))) == expected
        assert sorted(ids(storage.search([1.0, 0, 0], scope_prefix="/crew/a"))) == expected
        assert storage.count("/crew/a") == 2
        assert storage.get_scope_info("/crew/a").record_count == 2
        assert storage.list_scopes("/crew/a") == ["/crew/a/b"]
        assert storage.delete(scope_prefix="/crew/a") == 2
        assert storage.count() == 3

    def test_any_of_the_categories_matches(self, scoped: StorageBackend) -> None:
        """A record matches if it has any of the categories."""
        found = scoped.search([1.0, 0.0, 0.0], categories=["y", "z"])
        assert ids(found) == ["a1", "a2", "other"]
        found = scoped.search([1.0, 0.0, 0.0], categories=["x"], scope_prefix="/crew/a")
        assert ids(found) == ["a1"]

    def test_all_of_the_metadata_must_match(self, storage: StorageBackend) -> None:
        """Each key of the filter must have its value: mappings must be equal, and types count."""
        storage.save(
            [
                record("both", metadata={"k": "v", "n": 1}),
                record("one", metadata={"k": "v", "n": 2}),
                record("none", metadata={}),
                record("nested", metadata={"m": {"a": 1, "b": 2}}),
            ]
        )
        query = [1.0, 0.0, 0.0]
        assert ids(storage.search(query, metadata_filter={"k": "v", "n": 1})) == ["both"]
        assert sorted(ids(storage.search(query, metadata_filter={"k": "v"}))) == ["both", "one"]
        assert storage.search(query, metadata_filter={"unknown": 1}) == []
        assert storage.search(query, metadata_filter={"m": {"a": 1}}) == []
        assert ids(storage.search(query, metadata_filter={"m": {"a": 1, "b": 2}})) == ["nested"]

    def test_members_of_enums_are_what_they_stand_for(self, storage: StorageBackend) -> None:
        """In stored metadata and in filters, enum members are their values, as in JSON."""
        kinds = {"kind": _Kind.FACT, "levels": [_Level.LOW], "seen": {_Kind.FACT: 1}}
        storage.save([record("id", metadata=kinds)])
        storage.update(record("id", metadata=kinds))
        found = storage.get_record("id")
        assert found is not None
        assert found.metadata == {"kind": "fact", "levels": [1], "seen": {"fact": 1}}
        assert type(found.metadata["kind"]) is str
        for kind in ("fact", _Kind.FACT):
            assert ids(storage.search([1.0, 0.0, 0.0], metadata_filter={"kind": kind})) == ["id"]

    def test_filters_come_before_the_limit(self, storage: StorageBackend) -> None:
        """The best matching record is found behind any number of nearer ones that don't match."""
        storage.save([record(f"near{index}", [1.0, 0.0, 0.0]) for index in range(40)])
        storage.save([record("far", [0.0, 1.0, 0.0], categories=["rare"], metadata={"k": 1})])
        query = [1.0, 0.0, 0.0]
        assert ids(storage.search(query, categories=["rare"], limit=1)) == ["far"]
        assert ids(storage.search(query, metadata_filter={"k": 1}, limit=1)) == ["far"]

    def test_saving_an_id_again_replaces_it(self, storage: StorageBackend) -> None:
        """An id names one record, even within one call."""
        storage.save([record("id", content="first"), record("id", content="second")])
        storage.save([record("id", [0.0, 1.0, 0.0], content="third", scope="/new")])
        assert storage.count() == 1
        [(found, score)] = storage.search([0.0, 1.0, 0.0])
        assert found.content == "third"
        assert score == pytest.approx(1.0, abs=1e-6)
        assert storage.list_scopes() == ["/new"]

    def test_update_replaces_a_record(self, scoped: StorageBackend) -> None:
        """All fields are replaced, and searches use the new embedding and scope."""
        scoped.update(record("b", [0.0, 0.0, 1.0], scope="/moved", categories=["new"]))
        assert scoped.count() == 6
        assert ids(scoped.search([0.0, 0.0, 1.0], limit=1)) == ["b"]
        assert ids(scoped.list_records("/moved")) == ["b"]
        assert "/crew/b" not in scoped.list_scopes("/crew")
        assert scoped.list_categories()["new"] == 1

    def test_what_could_not_be_read_is_refused(self, scoped: StorageBackend) -> None:
        """Changed fields are not validated by pydantic, and one bad record must not hide others."""
        before = scoped.get_record("b")
        assert before is not None
        changes: list[dict[str, Any]] = [
            {"importance": 5.0},
            {"importance": "high"},
            {"metadata": {1: 2}},
            {"metadata": ["no", "dict"]},
            {"categories": "text"},
        ]
        for change in changes:
            with pytest.raises((TypeError, ValueError)):
                scoped.update(before.model_copy(update=change))
            with pytest.raises((TypeError, ValueError)):
                scoped.save([before.model_copy(update=change)])
        assert scoped.get_record("b") == before
        assert len(scoped.search([1.0, 0.0, 0.0])) == 6

    def test_records_are_listed_newest_first(self, scoped: StorageBackend) -> None:
        """Offset and limit apply to the order by time of creation."""
        order = ["other", "b", "a2", "a1", "crew", "root"]
        assert ids(scoped.list_records()) == order
        assert ids(scoped.list_records(limit=2)) == order[:2]
        assert ids(scoped.list_records(limit=2, offset=3)) == order[3:5]
        assert scoped.list_records(limit=0) == scoped.list_records(limit=-1) == []
        assert scoped.list_records(offset=-1) == []
        assert scoped.list_records(offset=6) == []

    def test_scopes_are_listed_by_full_path(self, scoped: StorageBackend) -> None:
        """`list_scopes` returns only the immediate children."""
        assert scoped.list_scopes() == ["/crew", "/other"]
        assert scoped.list_scopes("/crew") == ["/crew/a", "/crew/b"]
        assert scoped.list_scopes("/crew/a/") == ["/crew/a/deep"]
        assert scoped.list_scopes("/unknown") == []

    def test_a_scope_needs_no_record_of_its_own(self, storage: StorageBackend) -> None:
        """Every scope between the root and a record's scope is listed, whatever its name."""
        storage.save([record("id", scope="/x/y/_/ü b")])
        scopes = ["/x", "/x/y", "/x/y/_", "/x/y/_/ü b"]
        for parent, child in zip(["/", *scopes], scopes, strict=False):
            assert storage.list_scopes(parent) == [child]
            assert storage.count(child) == 1
        assert storage.list_scopes(scopes[-1]) == []

    def test_scope_info_sums_up(self, scoped: StorageBackend) -> None:
        """Count, categories, dates and children of a scope and everything below it."""
        info = scoped.get_scope_info("/crew")
        assert info.path == "/crew"
        assert info.record_count == 4
        assert sorted(info.categories) == ["x", "y"]
        assert info.oldest_record == EPOCH - timedelta(minutes=5)
        assert info.newest_record == EPOCH - timedelta(minutes=2)
        assert info.child_scopes == ["/crew/a", "/crew/b"]
        assert scoped.get_scope_info("/unknown").record_count == 0
        assert scoped.get_scope_info("/crew/") == info
        assert scoped.get_scope_info("/").record_count == 6

    def test_categories_are_counted(self, scoped: StorageBackend) -> None:
        """Each category comes with the number of its records in the scope."""
        assert scoped.list_categories() == {"x": 2, "y": 2, "z": 1}
        assert scoped.list_categories("/crew/a") == {"x": 1, "y": 2}

    def test_delete_by_id(self, scoped: StorageBackend) -> None:
        """The number of deleted records is returned; unknown ids do not count."""
        assert scoped.delete(record_ids=["a1", "unknown", "b"]) == 2
        assert sorted(ids(scoped.list_records())) == ["a2", "crew", "other", "root"]
        assert "a1" not in ids(scoped.search([1.0, 0.0, 0.0]))

    def test_no_ids_delete_nothing(self, scoped: StorageBackend) -> None:
        """An empty list of ids is not the same as None: it deletes nothing."""
        assert scoped.delete(record_ids=[]) == 0
        assert scoped.delete(record_ids=[], scope_prefix="/crew") == 0
        assert scoped.count() == 6

    @pytest.mark.parametrize("identity", ["", "\x00"])
    def test_an_id_that_means_nothing_is_unknown(
        self, scoped: StorageBackend, identity: str
    ) -> None:
        """CrewAI deletes whatever ids a model names."""
        assert scoped.get_record(identity) is None
        scoped.touch_records([identity, "b"])  # type: ignore[attr-defined]  # not in the protocol
        assert scoped.delete(record_ids=[identity]) == 0
        assert scoped.delete(record_ids=[identity, "b"]) == 1
        assert scoped.count() == 5

    def test_delete_by_scope(self, scoped: StorageBackend) -> None:
        """A scope is deleted with everything below it, and nothing else."""
        assert scoped.delete(scope_prefix="/crew/a") == 2
        assert sorted(ids(scoped.list_records())) == ["b", "crew", "other", "root"]

    def test_delete_combines_its_criteria(self, scoped: StorageBackend) -> None:
        """A record is deleted only if it meets all given criteria."""
        assert scoped.delete(record_ids=["a1", "other"], scope_prefix="/crew") == 1
        assert scoped.delete(categories=["x"], scope_prefix="/other") == 0
        assert scoped.delete(categories=["y"], older_than=EPOCH - timedelta(minutes=3)) == 0
        assert scoped.delete(record_ids=["b"], older_than=EPOCH - timedelta(minutes=2)) == 0
        assert scoped.delete(record_ids=["b"], metadata_filter={"k": 1}) == 0
        assert sorted(ids(scoped.list_records())) == ["a2", "b", "crew", "other", "root"]

    def test_delete_by_age_is_strict(self, scoped: StorageBackend) -> None:
        """A record of exactly that time is kept."""
        assert scoped.delete(older_than=EPOCH - timedelta(minutes=3)) == 3
        assert sorted(ids(scoped.list_records())) == ["a2", "b", "other"]

    def test_delete_by_metadata(self, storage: StorageBackend) -> None:
        """The metadata filter works as it does in search."""
        storage.save([record("a", metadata={"k": 1}), record("b", metadata={"k": 2})])
        assert storage.delete(metadata_filter={"k": 1}) == 1
        assert ids(storage.list_records()) == ["b"]

    def test_delete_without_criteria_deletes_all(self, scoped: StorageBackend) -> None:
        """Deletes everything, as in CrewAI's own storage."""
        assert scoped.delete() == 6
        assert scoped.count() == 0

    def test_reset_of_a_scope_keeps_the_rest(self, scoped: StorageBackend) -> None:
        """Only the scope and everything below it are emptied."""
        scoped.reset("/crew/a")
        assert sorted(ids(scoped.list_records())) == ["b", "crew", "other", "root"]

    def test_another_dimension_is_refused(self, storage: StorageBackend) -> None:
        """Save, search and update raise, name both dimensions, and store nothing."""
        # CrewAI 1.14.7 has no error of its own for this.
        mismatch = getattr(backend, "EmbeddingDimensionMismatchError", ValueError)
        storage.save([record("id")])
        calls: list[Callable[[], object]] = [
            lambda: storage.save([record("new", [1.0, 2.0])]),
            lambda: storage.save([record("new"), record("newer", [1.0, 2.0])]),
            lambda: storage.search([1.0, 2.0]),
            lambda: storage.update(record("id", [1.0, 2.0])),
        ]
        for call in calls:
            with pytest.raises(mismatch, match=r"\b3[ -]dimension(?s:.*)\b2\b"):
                call()
        assert ids(storage.list_records()) == ["id"]

    @pytest.mark.parametrize("everything", [None, "", "/"])
    def test_a_full_reset_forgets_the_dimension(
        self, storage: StorageBackend, everything: str | None
    ) -> None:
        """An emptied storage accepts vectors of any dimension."""
        storage.save([record("id")])
        storage.reset(everything)
        storage.save([record("id", [1.0, 2.0])])
        assert ids(storage.search([1.0, 2.0])) == ["id"]

    def test_records_without_embedding_are_kept(self, storage: StorageBackend) -> None:
        """They can be listed and fetched."""
        storage.save([record("with"), record("without", [])])
        assert storage.count() == 2
        found = storage.get_record("without")
        assert found is not None
        assert found.content == "content of without"

    def test_records_without_embedding_are_near_nothing(self, storage: StorageBackend) -> None:
        """No search finds them."""
        storage.save([record("with", [0.0, 1.0, 0.0]), record("without", [])])
        assert ids(storage.search([1.0, 0.0, 0.0])) == ["with"]

    def test_touched_records_were_just_accessed(self, scoped: StorageBackend) -> None:
        """`touch_records` sets last_accessed, in naive UTC, and nothing else."""
        touch = getattr(scoped, "touch_records", None)
        assert touch is not None
        before = scoped.get_record("a1")
        touch(["a1", "unknown"])
        after = scoped.get_record("a1")
        assert before is not None
        assert after is not None
        assert after.last_accessed.tzinfo is None
        assert after.last_accessed > before.last_accessed
        assert after.model_copy(update={"last_accessed": before.last_accessed}) == before
        assert scoped.count() == 6
