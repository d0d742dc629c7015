"""What only the Redis store promises: its layout, index, round trips and expiry."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from redis.cluster import RedisCluster
from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import ConflictError, StoreError, StoreIncompleteError, StoreUnavailableError
from swarmstate_redis import RedisStore, planning

from tests.redis.test_contract import prefix_of
from tests.servers.redis import PASSWORD, RedisServer
from tests.servers.waiting import wait_until

# Reads a value like a program in another language; supports the msgpack types that occur.
DECODE = """
const data = Buffer.from(process.argv[1], "hex"); let at = 0;
const take = (count) => data.subarray(at, (at += count));
function value() {
  const b = data[at++];
  if (b < 0x80) return b;
  if (b < 0x90) return map(b & 15);
  if (b < 0xa0) return list(b & 15);
  if (b < 0xc0) return take(b & 31).toString();
  switch (b) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xcb: return take(8).readDoubleBE();
    case 0xcc: return take(1).readUInt8();
    case 0xcd: return take(2).readUInt16BE();
    case 0xd9: return take(data[at++]).toString();
    case 0xdc: return list(take(2).readUInt16BE());
    case 0xff: return -1;
  }
  throw new Error("unexpected byte " + b);
}
function list(count) { return Array.from({ length: count }, value); }
function map(count) {
  return Object.fromEntries(Array.from({ length: count }, () => [value(), value()]));
}
"""


def store_of(server: RedisServer, path: Path, **options: object) -> RedisStore:
    return RedisStore(server.url(), prefix=prefix_of(path), **options)  # type: ignore[arg-type]


def test_a_value_is_one_field_of_a_hash(redis_server: RedisServer, tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    with store_of(redis_server, tmp_path) as store:
        store.set_many("user/ada", {"name": "Ada", "tags": [1, 2.5, None, True]})
    assert redis_server.execute("HGET", f"{prefix}:user/ada", "name") == b"\xa3Ada"
    assert redis_server.execute("HLEN", f"{prefix}:user/ada") == 2
    keys = redis_server.execute("ZRANGE", f"{{{prefix}:user/ada}}:keys", 0, -1)
    assert keys == [b"name", b"tags"]
    assert redis_server.execute("ZRANGE", f"{{{prefix}}}:namespaces", 0, -1) == [b"", b"user/ada"]


def test_concurrent_tasks_share_round_trips(redis_server: RedisServer, tmp_path: Path) -> None:
    def reads() -> int:
        with redis_server.client() as client:
            return int(client.info("stats")["total_reads_processed"])

    async def main() -> None:
        async with store_of(redis_server, tmp_path) as store:
            await store.aset("n", "k", 1)
            before = reads()
            tasks = (store.aset(f"n{number}", "k", number) for number in range(200))
            await asyncio.gather(*tasks)
            assert reads() - before < 20
            assert len(await store.anamespaces()) == 201

    asyncio.run(main())


def test_a_query_and_a_write_are_one_round_trip(redis_server: RedisServer, tmp_path: Path) -> None:
    with store_of(redis_server, tmp_path) as store:
        store.set("n", "k", 1)
        assert store.get("n", "k") == 1  # loads both scripts into the server
        link = store._open_link()
        sent = []
        send = link.send
        link.send = lambda words: sent.append(words) or send(words)  # type: ignore
        store.read([Query(name, ["k"], [Range(), Range("a")], ttl=60) for name in "nmo"])
        store.write([Batch(name, put={"k": b"v"}, put_if_absent={"a": b""}) for name in "nmo"])
        assert [len(words) for words in sent] == [1, 1]


def test_expired_namespaces_leave_the_index(redis_server: RedisServer, tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    index = f"{{{prefix}}}:namespaces"
    with store_of(redis_server, tmp_path) as store:
        for number in range(50):
            store.set(f"n{number:02}", "k", number)
        for number in range(0, 50, 2):
            redis_server.execute("DEL", f"{prefix}:n{number:02}", f"{{{prefix}:n{number:02}}}:keys")
        assert redis_server.execute("ZCARD", index) == 51
        assert store.namespaces(limit=3) == ["n01", "n03", "n05"]
        assert store.namespaces() == [f"n{number:02}" for number in range(1, 50, 2)]
        assert redis_server.execute("ZCARD", index) == 26


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_an_index_of_namespaces_that_was_lost_is_told_until_it_is_made_anew(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    prefix = prefix_of(tmp_path)
    client: Any
    if kind == "cluster":
        server: RedisServer = request.getfixturevalue("redis_cluster")[0]
        client = RedisCluster(host="127.0.0.1", port=server.port, password=PASSWORD)
    else:
        server = request.getfixturevalue("redis_server")
        client = server.client()
    url = f"{server.url()}?cluster={str(kind == 'cluster').lower()}"
    with RedisStore(url, prefix=prefix) as store:
        assert store.namespaces() == []
        store.set("n", "k", 1)
        store.set("m", "k", 1)
        client.delete(f"{{{prefix}}}:namespaces")
        for _ in range(2):
            for call in (store.namespaces, store.snapshot, lambda: store.namespaces("n", limit=1)):
                with pytest.raises(StoreIncompleteError, match="index of namespaces"):
                    call()
            assert store.get("n", "k") == 1
            # Writing to a namespace, known or new, does not make the index complete.
            store.set("n", "k", 1)
            store.set("new", "k", 1)
            store.copy("m", "copied")
        for name in ("", "copied", "m", "n", "new"):
            client.zadd(f"{{{prefix}}}:namespaces", {name: 0})
        assert store.namespaces() == ["copied", "m", "n", "new"]
        store.clear()
        assert store.namespaces() == []
    client.close()


def test_a_cluster_s_index_is_healed(redis_cluster: list[RedisServer], tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    url = f"{redis_cluster[0].url()}?cluster=true"
    client = RedisCluster(host="127.0.0.1", port=redis_cluster[0].port, password=PASSWORD)
    with RedisStore(url, prefix=prefix) as store:
        for number in range(20):
            store.set(f"n{number:02}", "k", number)
        client.delete(f"{prefix}:n07")
        client.delete(f"{{{prefix}:n07}}:keys")
        assert len(store.namespaces()) == 19
        assert client.zcard(f"{{{prefix}}}:namespaces") == 20
        store.set("n07", "k", 1)
        assert len(store.namespaces("n0")) == 10
    client.close()


@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_a_namespace_that_comes_back_while_its_name_is_forgotten(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = url_of(request, kind)
    prefix = prefix_of(tmp_path)
    with RedisStore(url, prefix=prefix) as store, RedisStore(url, prefix=prefix) as other:
        other.set("brief", "k", 1)
        other.set("lasting", "k", 1)
        # Its name stays in the index, as after an expiry.
        other.write([Batch("brief", ttl=0.001)])
        send = store._open_link().send

        def send_later(commands: Any) -> Any:
            if commands[0][0] in (b"EVALSHA", b"ZREM"):
                other.set("brief", "k", 2)
            return send(commands)

        store._open_link().send = send_later  # type: ignore[method-assign]  # only on this object
        wait_until(lambda: store.namespaces() == ["lasting"], "it expires")
        assert other.get("brief", "k") == 2
        assert other.namespaces() == ["brief", "lasting"]


def test_a_namespace_whose_name_is_forgotten_before_it_is_there(
    redis_cluster: list[RedisServer], tmp_path: Path
) -> None:
    url = f"{redis_cluster[0].url()}?cluster=true&prefix={prefix_of(tmp_path)}"
    with RedisStore(url) as store, RedisStore(url) as other:
        send = store._open_link().send

        def send_apart(commands: Any) -> Any:
            store._open_link().send = send  # type: ignore[method-assign]  # only on this object
            # Two nodes may run these in any order.
            [entered] = send(commands[1:])
            assert other.namespaces() == []
            return [*send(commands[:1]), entered]

        store.get("n", "k")
        store.write([Batch("m", put={"k": b""})])
        store.write([Batch("m", clear=True)])
        store._open_link().send = send_apart  # type: ignore[method-assign]  # only on this object
        store.set("n", "k", 1)
        assert other.namespaces() == ["n"]


def url_of(request: pytest.FixtureRequest, kind: str) -> str:
    if kind == "cluster":
        nodes: list[RedisServer] = request.getfixturevalue("redis_cluster")
        return f"{nodes[0].url()}?cluster=true"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url()


def test_nothing_may_stand_for_false(redis_server: RedisServer, tmp_path: Path) -> None:
    unset: Any = None
    with store_of(redis_server, tmp_path) as store:
        store.write([Batch("n", put={"a": b"1"})])
        store.write([Batch("n", put={"b": b"2"}, clear=unset)])
        assert store.keys("n") == ["a", "b"]
        assert store.read([Query("n", ask_ttl=unset)])[0].ttl is None


def test_what_is_replaced_at_the_moment_it_expires_does_not_stay_forever(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    names = [f"{milliseconds:04}" for milliseconds in range(1, 1001)]
    replaced = [Batch(n, put={"new": b""}, delete=["old"], expect=Expect("", "old")) for n in names]
    with store_of(redis_server, tmp_path) as store:
        found: list[float | None] = []
        # Unless the server takes a second, one of them expires while it is replaced.
        while not any(found):
            store.write([Batch(n, put={"old": b""}, clear=True, ttl=int(n) / 1000) for n in names])
            with pytest.raises(ConflictError):
                store.write(replaced[::-1])
            found = [each.ttl for each in store.read([Query(n, ask_ttl=True) for n in names])]
        assert math.inf not in found


def test_a_store_s_own_ttl_is_what_writes_give(redis_server: RedisServer, tmp_path: Path) -> None:
    with store_of(redis_server, tmp_path, ttl=100) as store:
        store.set("n", "k", 1, ttl=3600)
        store.set("n", "k", 2)
        [found] = store.read([Query("n", ask_ttl=True)])
        assert found.ttl is not None
        assert 0 < found.ttl <= 100


def test_a_store_s_own_ttl(redis_server: RedisServer, tmp_path: Path) -> None:
    def left(namespace: str) -> float | None:
        return store.read([Query(namespace, ask_ttl=True)])[0].ttl

    with store_of(redis_server, tmp_path, ttl=100, refresh_on_read=True) as store:
        store.set("n", "k", 1)
        store.set("lasting", "k", 1, ttl=math.inf)
        with store_of(redis_server, tmp_path) as plain:
            plain.set("n", "k", 1, ttl=10)
            [found] = plain.read([Query("n", ask_ttl=True)])
            assert found.ttl is not None
            assert 9 < found.ttl <= 10
            with store_of(redis_server, tmp_path, ttl=100) as written_to:
                [found] = written_to.read([Query("n", ask_ttl=True)])
                assert found.ttl is not None
                assert found.ttl <= 10
        assert 99 < (left("n") or 0) <= 100
    prefix = prefix_of(tmp_path)
    moments = {redis_server.execute("PTTL", key) for key in (f"{prefix}:n", f"{{{prefix}:n}}:keys")}
    assert all(isinstance(each, int) and 0 < each <= 100_000 for each in moments)


def test_another_language_reads_a_value(redis_server: RedisServer, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        raise RuntimeError("expected node, which reads a value as another language does")
    value = {"name": "Ada Lovelace", "years": [1815, 1852], "left": None, "ok": True, "x": -1}
    with store_of(redis_server, tmp_path) as store:
        store.set("user/ada", "profile", value)
    data = redis_server.execute("HGET", f"{prefix_of(tmp_path)}:user/ada", "profile")
    assert isinstance(data, bytes)
    script = DECODE + "console.log(JSON.stringify(value()));"
    done = subprocess.run([node, "-e", script, data.hex()], capture_output=True, text=True)
    assert (done.stderr, json.loads(done.stdout)) == ("", value)


def test_no_command_walks_over_the_whole_keyspace(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with redis_server.client() as client:
        client.config_resetstat()
        with store_of(redis_server, tmp_path) as store:
            store.set("n", "k", 1)
            store.namespaces()
            store.copy("n", "m")
            store.restore(store.snapshot())
            store.clear()
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert not used & {"keys", "scan", "hgetall", "flushdb"}


def test_a_value_that_redis_does_not_take_is_told_and_not_sent(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with store_of(redis_server, tmp_path) as store:
        batch = Batch("n", put={"small": b"", "large": bytes(512 * 1024 * 1024 + 1)})
        with pytest.raises(StoreError, match=r"536,870,912 bytes.*'n'.*'large'.*in parts"):
            store.write([batch])
        assert store.keys("n") == []


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_more_records_than_a_request_may_have_are_told_and_not_sent(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    server: RedisServer = request.getfixturevalue(f"{kind}_server")
    with server.client() as client:
        is_limited = int(client.info("server")["redis_version"].split(".")[0]) < 7
    with store_of(server, tmp_path) as store:
        batch = Batch("n", put={f"{number}": b"" for number in range(530_000)})
        if is_limited:
            with pytest.raises(StoreError, match=r"1,048,576 arguments.*write less at once"):
                store.write([batch])
            assert store.keys("n") == []
        else:
            store.write([batch])
            assert len(store.keys("n")) == 530_000
            store.clear("n")


def test_who_may_not_ask_for_the_version_is_not_held_up(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_MOST_WORDS", 20)
    redis_server.execute("ACL", "SETUSER", "asker", "on", ">pw", "~*", "+@all", "-info")
    url = f"redis://asker:pw@127.0.0.1:{redis_server.port}/0"
    with RedisStore(url, prefix=prefix_of(tmp_path)) as store:
        store.write([Batch("n", put={f"{number}": b"" for number in range(20)})])
        assert len(store.keys("n")) == 20


def test_what_a_user_may_not_do_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.execute("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+@connection")
    with (
        RedisStore(f"redis://reader:pw@127.0.0.1:{redis_server.port}/0") as store,
        pytest.raises(StoreUnavailableError, match="denied a command"),
    ):
        store.set("n", "k", 1)


def documented_permissions(prefix: str, *, by_command: bool) -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    found = re.search(r"^ACL SETUSER agents on >password [^`]*", page, re.MULTILINE)
    listed = re.search(r"^EVALSHA EVAL [^`]*", page, re.MULTILINE)
    assert found is not None
    assert listed is not None
    words = found[0].replace("swarmstate", prefix).split()
    if by_command:
        commands = listed[0].replace("CLUSTER SLOTS", "CLUSTER|SLOTS")
        words = [word for word in words if not word.startswith("+")]
        words += [f"+{command.lower()}" for command in re.findall("[A-Z|]{3,}", commands)]
    return [*words[:3], "reset", *words[3:]]


# The last three have braces in every way that matters for key names.
@pytest.mark.parametrize("name", ["n", "user/{3f2504e0-4f89}", "{a", "a}b"])
@pytest.mark.parametrize("by_command", [False, True])
@pytest.mark.parametrize("kind", ["standalone", "cluster"])
def test_the_documented_permissions_are_enough(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, name: str, by_command: bool
) -> None:
    servers: list[RedisServer]
    if kind == "cluster":
        servers = request.getfixturevalue("redis_cluster")
    else:
        servers = [request.getfixturevalue("redis_server")]
    prefix = prefix_of(tmp_path)
    for server in servers:
        server.execute(*documented_permissions(prefix, by_command=by_command))
    url = f"redis://agents:password@127.0.0.1:{servers[0].port}/0"
    with RedisStore(f"{url}?cluster={str(kind == 'cluster').lower()}", prefix=prefix) as store:
        other = f"{name}2"
        store.set_many(name, {"a": 1, "b": 2}, ttl=60)
        store.copy(name, other)
        assert store.namespaces() == [name, other]
        ranges = [Range("a"), Range(reverse=True, limit=1)]
        store.read([Query(name, ["a"], ranges, ttl=math.inf, ask_ttl=True)])
        put = {"c": store.read([Query(name, ["a"])])[0].values[0] or b""}
        store.write(
            [
                Batch(name, put_if_absent=put, expect=Expect("", "b"), delete=["a"]),
                Batch(name, put=put, delete_ranges=[("b", "c")], ttl=math.inf, clear=False),
                Batch(other, clear=True, expect_values={"a": put["c"]}),
            ]
        )
        assert store.items(name) == [("c", 1)]
        store.restore(store.snapshot())
        store.clear()
        assert store.namespaces() == []
