"""Copying stores: exact, resumable, and careful with existing data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swarmstate import Batch, DiskStore, Query, Range, Store, moving
from swarmstate.base import BaseStore
from swarmstate.errors import StoreUnavailableError
from swarmstate.layers import EncryptedStore, KeyRing, Operation, StoreLayer, new_key
from swarmstate.moving import Progress, StoreSize, copy_store, measure

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def contents(store: BaseStore) -> dict[str, dict[str, bytes]]:
    snapshot = store.snapshot()
    return {name: snapshot.records(name) for name in snapshot.namespaces}


def filled() -> Store:
    store = Store()
    for number in range(5):
        put = {f"key{index:04}": b"%d" % index * number for index in range(700)}
        store.write([Batch(f"n{number}", put=put)])
    return store


def test_a_url_is_no_store() -> None:
    url: Any = "redis://localhost"
    with pytest.raises(TypeError, match=r"expected a store, .* found str"):
        copy_store(url, Store())
    with pytest.raises(TypeError, match=r"expected a store, .* found str"):
        copy_store(Store(), url)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.binary(), min_size=1)))
def test_every_record_arrives(records: dict[str, dict[str, bytes]]) -> None:
    source, target = Store(), Store()
    source.write([Batch(name, put=put) for name, put in records.items()])
    report = copy_store(source, target)
    assert report.failures == ()
    assert contents(target) == records
    count = sum(map(len, records.values()))
    size = sum(len(value) for put in records.values() for value in put.values())
    assert report[:4] == (len(records), count, size, count)
    assert measure(source) == StoreSize(len(records), count, size)


@pytest.mark.parametrize("batch_bytes", [1, 1_000, 10**9])
@pytest.mark.parametrize("page_bytes", [1, 100, 10**6])
def test_pages_and_batches_of_any_size(
    page_bytes: int, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PAGE_BYTES", page_bytes)
    monkeypatch.setattr(moving, "_BATCH_BYTES", batch_bytes)
    monkeypatch.setattr(moving, "_FIRST_PAGE", 3)
    source, target = Store(), Store()
    # Some keys are the immediate successors of others, so a page break must not skip any.
    names = [f"{index:03}" for index in range(60)] + ["x" + "\x01" * index for index in range(60)]
    source.write([Batch("n", put={name: b"v" * index for index, name in enumerate(names)})])
    assert copy_store(source, target).written == 120
    assert contents(target) == contents(source)
    assert copy_store(source, target).written == 0


def test_expiry_comes_along(tmp_path: Path) -> None:
    source = Store()
    source.set("brief", "k", 1, ttl=3600)
    source.set("lasting", "k", 1)
    with DiskStore(tmp_path / "state.db") as target:
        assert copy_store(source, target).failures == ()
        brief, lasting = target.read([Query(name, ask_ttl=True) for name in ["brief", "lasting"]])
        assert brief.ttl is not None
        assert 3500 < brief.ttl <= 3600
        assert lasting.ttl == math.inf


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("there", [{"a": b"1", "b": b"2"}, {"a": b"1"}], ids=["all", "a part"])
@pytest.mark.parametrize(
    ("ttl", "target_ttl"), [(60, math.inf), (math.inf, 60), (60, 3600), (3600, 60)]
)
def test_the_expiry_of_the_source_replaces_an_outdated_one(
    ttl: float, target_ttl: float, there: dict[str, bytes], overwrite: bool
) -> None:
    source, target = Store(), Store()
    source.write([Batch("n", put={"a": b"1", "b": b"2"}, ttl=ttl)])
    target.write([Batch("n", put=there, ttl=target_ttl)])
    report = copy_store(source, target, overwrite=overwrite)
    assert (report.failures, report.written) == ((), 2 - len(there))
    [found] = target.read([Query("n", ask_ttl=True)])
    assert found.ttl == pytest.approx(ttl, abs=30)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ([], "0 namespaces, 0 records, 0 bytes; 0 records written, 0 already existed"),
        (["a"], "1 namespace, 1 record, 1 byte; 1 record written, 0 already existed"),
        (["a", "b"], "1 namespace, 2 records, 2 bytes; 2 records written, 0 already existed"),
    ],
)
def test_a_report_counts_in_words_for_people(keys: list[str], line: str) -> None:
    source = Store()
    source.write([Batch("n", put=dict.fromkeys(keys, b"1"))])
    assert str(copy_store(source, Store())) == line


def test_a_report_does_not_take_what_failed_for_copied() -> None:
    source, target = Store(), Store()
    source.write([Batch("n", put={"a": b"1", "b": b"1"}), Batch("m", put={"a": b"1"})])
    target.write([Batch("n", put={"a": b"2"})])
    report = copy_store(source, target)
    assert "1 record written, 2 already existed or are in 1 namespace that failed" in str(report)
    assert "failed" not in str(copy_store(source, target, overwrite=True))


def test_the_expiry_of_other_records_stays() -> None:
    source, target = Store(), Store()
    source.write([Batch("n", put={"a": b"1"}, ttl=60)])
    target.write([Batch("n", put={"a": b"2"}, ttl=3600)])
    assert len(copy_store(source, target).failures) == 1
    [found] = target.read([Query("n", ask_ttl=True)])
    assert found.ttl == pytest.approx(3600, abs=30)


def test_an_expiry_that_hardly_differs_is_no_difference() -> None:
    source, target = Store(), Store()
    source.write([Batch("n", put={"a": b"1"}, ttl=60)])
    target.write([Batch("n", put={"a": b"1"}, ttl=61)])
    assert copy_store(source, Failing(target, writes=0)).failures == ()


def test_only_what_has_the_prefix_and_others_stay() -> None:
    source, target = filled(), Store()
    target.set("mine", "k", 1)
    assert copy_store(source, target, prefix="n1").namespaces == 1
    assert target.namespaces() == ["mine", "n1"]


class Failing(StoreLayer):
    """Fails after a number of writes."""

    def __init__(self, store: BaseStore, writes: int) -> None:
        super().__init__(store)
        self.left = writes

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        if not self.left:
            raise StoreUnavailableError("the server went away")
        self.left -= 1
        yield from super().writing(batches)


@pytest.mark.parametrize("writes", range(6))
def test_an_interrupted_copy_goes_on(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_BATCH_BYTES", 500)
    source, target = filled(), Store()
    with pytest.raises(StoreUnavailableError):
        copy_store(source, Failing(target, writes))
    already = len(target)
    report = copy_store(source, target)
    assert report.failures == ()
    assert report.written == report.records - already
    assert contents(target) == contents(source)


@pytest.mark.parametrize(
    "there", [{"key0007": b"other"}, {"unknown": b"v"}, {"key0000": b"", "zzz": b""}], ids=str
)
def test_what_the_target_has_is_not_replaced_unless_asked(there: dict[str, bytes]) -> None:
    source, target = filled(), Store()
    target.write([Batch("n1", put=there)])
    report = copy_store(source, target)
    [failure] = report.failures
    assert "'n1'" in failure
    assert contents(target)["n1"] == there
    assert target.namespaces() == source.namespaces()
    report = copy_store(source, target, overwrite=True)
    assert report.failures == ()
    assert contents(target) == contents(source)


class Forgetful(StoreLayer):
    """Loses a record of each batch."""

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        lost = [batch._replace(put=dict(list(batch.put.items())[:-1])) for batch in batches]
        yield from super().writing(lost)


class Changing(StoreLayer):
    """Changes a value of each batch."""

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        changed = [batch._replace(put={**batch.put, "key0003": b"?"}) for batch in batches]
        yield from super().writing(changed)


class Immortal(StoreLayer):
    """Ignores expiry."""

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        yield from super().writing([batch._replace(ttl=None) for batch in batches])


class Hasty(StoreLayer):
    """Lets everything expire too early."""

    def writing(self, batches: Sequence[Batch]) -> Operation[None]:
        yield from super().writing([batch._replace(ttl=60) for batch in batches])


@pytest.mark.parametrize("kind", [Forgetful, Changing, Immortal, Hasty])
def test_the_comparison_finds_what_went_wrong(kind: type[StoreLayer]) -> None:
    source = filled()
    source.write([Batch("n2", ttl=3600)])
    report = copy_store(source, kind(Store()))
    assert any("'n2' does not match" in failure for failure in report.failures)


def test_encrypted_records_move_as_they_are() -> None:
    keys = KeyRing({"a": new_key()})
    source, target = Store(), Store()
    EncryptedStore(source, keys).set("n", "k", "secret")
    copy_store(source, target)
    assert contents(source) == contents(target)
    assert EncryptedStore(target, keys).get("n", "k") == "secret"


def test_a_plain_store_becomes_an_encrypted_one() -> None:
    keys = KeyRing({"a": new_key()})
    source, target = filled(), Store()
    encrypted = EncryptedStore(target, keys)
    assert copy_store(source, encrypted).failures == ()
    assert copy_store(source, encrypted).written == 0
    assert contents(encrypted) == contents(source)
    assert contents(target) != contents(source)


def test_progress_is_told() -> None:
    seen: list[Progress] = []
    copy_store(filled(), Store(), progress=seen.append)
    assert [each.done for each in seen] == [1, 2, 3, 4, 5] * 2
    assert {each.stage for each in seen} == {"copying", "comparing"}
    assert {(each.total, each.unit) for each in seen} == {(5, "namespaces")}


def test_reading_changes_nothing() -> None:
    source = filled()
    before = contents(source)
    measure(source)
    [result] = source.read([Query("n1", ranges=[Range(limit=1)])])
    assert result.ranges
    assert contents(source) == before
