"""Masters of a real cluster that are replaced during runs, and the data that remains."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.graph import END, START, StateGraph
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import MovedError
from swarmstate.base import Batch, Query, Range, Result
from swarmstate.errors import ConflictError, StoreUnavailableError
from swarmstate_redis import RedisStore
from swarmstate_redis.cluster import Address, Slots
from swarmstate_redis.names import SLOTS, slot_of

from tests.redis.writers import Writers
from tests.servers.redis import RedisServer, is_linked
from tests.servers.redis_cluster import fail_over, is_master, running_cluster, serving
from tests.servers.waiting import wait_until

MASTERS = 3
REPLICATED = {
    "cluster-node-timeout": "1000",
    "repl-diskless-sync-delay": "0",
    # A master must have replicated something before a regular failover can replace it.
    "repl-ping-replica-period": "1",
}


on_both_servers = pytest.mark.parametrize("nodes", ["redis", "valkey"], indirect=True)


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[list[RedisServer]]:
    """Three masters and, in the same order, a replica of each."""
    valkey = getattr(request, "param", "redis") == "valkey"
    with running_cluster(MASTERS, REPLICATED, replicated=True, valkey=valkey) as servers:
        yield servers


def url_of(*seeds: RedisServer, retry_for: float = 60, name: str = "agents") -> str:
    login, _, _ = seeds[0].url().rpartition("@")
    hosts = ",".join(f"127.0.0.1:{seed.port}" for seed in seeds)
    return f"{login}@{hosts}/0?cluster=true&retry_for={retry_for}&client_name={name}"


def fail_over_all(nodes: list[RedisServer]) -> None:
    """Swap all masters with their replicas, one pair after the other."""
    pairs = list(zip(nodes[:MASTERS], nodes[MASTERS:], strict=True))
    replaced = dict(pair if is_master(pair[0]) else pair[::-1] for pair in pairs)
    for master, replica in replaced.items():
        fail_over(replica)
        wait_until(lambda master=master: is_linked(master), "it follows")  # type: ignore[misc]  # bind the loop variable
    wait_until_agreed(nodes, list(replaced.values()))


def wait_until_agreed(nodes: list[RedisServer], masters: list[RedisServer]) -> None:
    ports = sorted(master.port for master in masters)
    wait_until(lambda: all(sorted(serving(each).values()) == ports for each in nodes), "they agree")


def wait_until_replicated(master: RedisServer, replica: RedisServer) -> None:
    """Wait until a replica has everything that its master has now."""
    with master.client() as client:
        there = client.info("replication")["master_repl_offset"]

    def has_it() -> bool:
        with replica.client() as client:
            return bool(client.info("replication")["slave_repl_offset"] >= there)

    wait_until(has_it, "it is replicated")


def assert_settled(store: RedisStore, nodes: list[RedisServer], masters: list[RedisServer]) -> None:
    """Check that a store soon knows only the masters, and stops asking which node serves a slot."""

    def use() -> None:
        for number in range(20):
            store.set(f"settled{number}", "k", number)
            assert store.get(f"settled{number}", "k") == number

    use()
    # Only now does the store learn what another thread had sent to an old master, and ask about it.
    use()
    for node in nodes:
        node.execute("CONFIG", "RESETSTAT")
    use()
    for node in nodes:
        with node.client() as client:
            # Redis 6.2 counts the subcommands as one.
            asked = {name for name in client.info("commandstats") if name.startswith("cmdstat_clu")}
            assert not asked
            assert "errorstat_MOVED" not in client.info("errorstats")
    for node in nodes:
        if node not in masters:
            wait_until(lambda node=node: connections_to(node) == 0, "it leaves the old master")  # type: ignore[misc]  # bind the loop variable


def connections_to(node: RedisServer) -> int:
    with node.client() as client:
        return sum(each["name"] == "agents" for each in client.client_list())


class Counters:
    """Threads and tasks that increment a counter by compare-and-swap, and read it and its twin."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.added = 0
        self.unknown = 0
        self.looked = 0

    def _batch(self, found: bytes | None) -> Batch:
        value = b"%d" % (int(found or b"0") + 1)
        return Batch("counter", put={"n": value, "twin": value}, expect_values={"n": found})

    def _added(self) -> None:
        with self._lock:
            self.added += 1

    def _lost(self, error: StoreUnavailableError) -> None:
        # By the time a thread retries, the others may have counted further than Redis remembers.
        assert "it is unknown whether" in str(error)
        with self._lock:
            self.unknown += 1

    def _look(self, values: list[bytes | None], before: int) -> int:
        number, twin = values
        assert number == twin
        self.looked += 1
        # Neither value goes back, not even behind one acknowledged to another writer.
        assert int(number or b"0") >= before
        return int(number or b"0")

    def _add(self) -> None:
        while not self._stop.is_set():
            [found] = self._store.read([Query("counter", ["n"])])
            try:
                self._store.write([self._batch(found.values[0])])
            except ConflictError:
                continue
            except StoreUnavailableError as error:
                self._lost(error)
                continue
            self._added()

    async def _aadd(self) -> None:
        while not self._stop.is_set():
            [found] = await self._store.aread([Query("counter", ["n"])])
            try:
                await self._store.awrite([self._batch(found.values[0])])
            except ConflictError:
                continue
            except StoreUnavailableError as error:
                self._lost(error)
                continue
            self._added()

    def _read(self) -> None:
        last = 0
        while not self._stop.is_set():
            acknowledged = self.added
            [found] = self._store.read([Query("counter", ["n", "twin"])])
            last = self._look(found.values, max(acknowledged, last))

    async def _aread(self) -> None:
        last = 0
        while not self._stop.is_set():
            acknowledged = self.added
            [found] = await self._store.aread([Query("counter", ["n", "twin"])])
            last = self._look(found.values, max(acknowledged, last))

    async def _tasks(self) -> None:
        await asyncio.gather(*(self._aadd() for _ in range(4)), self._aread())

    def run_while(self, fault: Callable[[], None]) -> None:
        """Count before, during and after `fault`; check that each increment was applied once.

        Only one whose outcome was reported as unknown may be missing.
        """
        with ThreadPoolExecutor(5) as pool:
            futures = [pool.submit(each) for each in (*[self._add] * 3, self._read)]
            futures.append(pool.submit(asyncio.run, self._tasks()))

            def wait_for_more() -> None:
                added, looked = self.added + 20, self.looked + 20
                wait_until(
                    lambda: (
                        (self.added > added and self.looked > looked)
                        or any(each.done() for each in futures)
                    ),
                    "they go on",
                )

            try:
                wait_for_more()
                fault()
                wait_for_more()
            finally:
                self._stop.set()
            for future in futures:
                future.result()
        [value] = self._store.read([Query("counter", ["n"])])[0].values
        assert self.added <= int(value or b"0") <= self.added + self.unknown


@on_both_servers
def test_masters_replaced_in_an_orderly_way(nodes: list[RedisServer]) -> None:
    """Nothing is lost, partial or applied twice, and writers without rivals notice nothing."""
    with RedisStore(url_of(nodes[0])) as store:
        counters = Counters(store)
        Writers(store, threads=4, tasks=8).run_while(
            lambda: counters.run_while(lambda: fail_over_all(nodes))
        )


class Rewinders(Writers):
    """Writers that continue at the end of their log, even if it is not where they left off."""

    def __init__(self, store: RedisStore, threads: int, tasks: int) -> None:
        super().__init__(store, threads, tasks)
        self.rewound: set[str] = set()

    def _thread(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                self._store.write([self._batch(name, number)])
            except (ConflictError, StoreUnavailableError) as error:
                found = self._store.read([self._last(name, error)])
                number = self._after(found)
            else:
                number += 1
            self.acknowledged[name] = number

    async def _task(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                await self._store.awrite([self._batch(name, number)])
            except (ConflictError, StoreUnavailableError) as error:
                found = await self._store.aread([self._last(name, error)])
                number = self._after(found)
            else:
                number += 1
            self.acknowledged[name] = number

    def _last(self, name: str, error: Exception) -> Query:
        # Lost writes cause conflicts; if a retried write may have been applied, the error says so.
        assert isinstance(error, ConflictError) or "it is unknown whether" in str(error)
        self.rewound.add(name)
        return Query(name, ranges=[Range("log/", "log0", reverse=True, limit=1)])

    @staticmethod
    def _after(found: list[Result]) -> int:
        [[(last, _)]] = found[0].ranges
        return int(last.removeprefix("log/")) + 1


@on_both_servers
def test_a_master_that_is_killed(nodes: list[RedisServer]) -> None:
    """Only writers to the killed master may fail, and lose only writes that no replica had yet."""
    master, replica = nodes[0], nodes[MASTERS]
    masters = [replica, *nodes[1:MASTERS]]
    replicated: dict[str, int] = {}

    def kill() -> None:
        replicated.update(writers.acknowledged)
        wait_until_replicated(master, replica)
        master.kill()
        wait_until_agreed([node for node in nodes if node is not master], masters)

    # The URL names the node that is gone.
    with RedisStore(url_of(master)) as store:
        writers = Rewinders(store, threads=6, tasks=10)
        writers.run_while(kill)
        there = {
            name
            for name in replicated
            if slot_of(f"swarmstate:{name}".encode()) <= SLOTS // MASTERS
        }
        assert there
        assert writers.rewound <= there
        assert all(writers.acknowledged[name] >= number for name, number in replicated.items())
        master.start()
        wait_until(lambda: is_linked(master), "it follows")
        assert_settled(store, nodes, masters)


def test_seeds_that_are_gone(nodes: list[RedisServer]) -> None:
    before, after = nodes[:MASTERS], nodes[MASTERS:]
    url, other = url_of(before[0]), url_of(before[0], name="idle")
    with RedisStore(url) as store, RedisStore(other) as idle:
        names = [f"n{number}" for number in range(20)]
        for each in (store, idle):
            for name in names:
                each.set(name, "k", name)
        fail_over_all(nodes)
        assert_settled(store, nodes, after)
        for node in before:
            node.stop()
        # It has not heard of the new masters yet, and those that it knew are gone.
        for each in (store, idle):
            assert [each.get(name, "k") for name in names] == names
    with RedisStore(url_of(*before, after[1], retry_for=0)) as store:
        assert [store.get(name, "k") for name in names] == names

        async def main() -> None:
            assert [await store.aget(name, "k") for name in names] == names

        asyncio.run(main())


class State(TypedDict):
    steps: Annotated[list[int], operator.add]


def agent(saver: SwarmStateSaver, at_half: Callable[[], None]) -> Any:
    """An agent of eight sequential steps; `at_half` is called halfway."""

    def step(state: State) -> State:
        if len(state["steps"]) == 4:
            at_half()
        return {"steps": [len(state["steps"])]}

    graph = StateGraph(State)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if len(state["steps"]) < 8 else END)
    return graph.compile(checkpointer=saver)


CONFIG: Any = {"configurable": {"thread_id": "ada"}}


def test_an_agent_goes_on_when_masters_are_replaced(nodes: list[RedisServer]) -> None:
    with SwarmStateSaver(url_of(nodes[0])) as saver:
        found = agent(saver, lambda: fail_over_all(nodes)).invoke({"steps": []}, CONFIG)
        assert found == {"steps": list(range(8))}
    check_history(nodes[-1])


def test_an_agent_goes_on_when_its_master_is_killed(nodes: list[RedisServer]) -> None:
    def kill() -> None:
        with RedisStore(url_of(nodes[0])) as store:
            [thread] = (name for name in store.namespaces() if "ada" in name)
        number = slot_of(f"swarmstate:{thread}".encode()) * MASTERS // SLOTS
        wait_until_replicated(nodes[number], nodes[number + MASTERS])
        nodes[number].kill()

    with SwarmStateSaver(url_of(*nodes[:2])) as saver:
        found = asyncio.run(agent(saver, kill).ainvoke({"steps": []}, CONFIG))
        assert found == {"steps": list(range(8))}
    check_history(nodes[-1])


def check_history(node: RedisServer) -> None:
    with SwarmStateSaver(url_of(node)) as saver:
        history = agent(saver, lambda: None).get_state_history(CONFIG)
        seen = [len(state.values.get("steps", [])) for state in history]
        assert seen == [*range(8, -1, -1), 0]


class TestSlots:
    """Which nodes are asked, in situations that real servers cannot reproduce."""

    A, B, C, NEW = (("node", number) for number in range(4))

    def route(self, slots: Slots, tables: dict[Address, Address | None]) -> Any:
        """Send a command; `tables` gives, for each live node, the only master it knows."""
        routing = slots.routed([[b"GET", b"key"]])
        replies: Any = None
        try:
            while True:
                [(node, commands)] = routing.send(replies)
                replies = [[self.answer(node, words, tables) for words in commands]]
        except StopIteration as done:
            return done.value[0]

    def answer(self, node: Address, words: Any, tables: dict[Address, Address | None]) -> Any:
        if node not in tables:
            return LostError("gone")
        master = tables[node]
        if words[0] == b"CLUSTER":
            return [] if master is None else [[0, SLOTS - 1, [master[0].encode(), master[1]]]]
        return node if node == master else MovedError("12539 {}:{}".format(*master or self.A))

    def test_who_is_cut_off_is_not_asked_for_ever(self) -> None:
        slots = Slots([self.A, self.B, self.C])
        assert self.route(slots, {self.A: self.C, self.B: self.C, self.C: self.C}) == self.C
        # A still believes in a master that is gone.
        tables: dict[Address, Address | None] = {
            self.A: self.C,
            self.B: self.NEW,
            self.NEW: self.NEW,
        }
        assert isinstance(self.route(slots, tables), LostError)
        assert self.route(slots, tables) == self.NEW

    def test_who_was_told_of_by_another_node_is_asked(self) -> None:
        slots = Slots([self.A, self.B])
        assert self.route(slots, {self.A: self.B, self.B: self.B}) == self.B
        tables: dict[Address, Address | None] = {
            self.A: self.B,
            self.B: self.NEW,
            self.NEW: self.NEW,
        }
        assert self.route(slots, tables) == self.NEW
        assert self.route(slots, tables) == self.NEW

    def test_who_forgot_the_cluster_is_not_believed(self) -> None:
        slots = Slots([self.A, self.B])
        tables: dict[Address, Address | None] = {self.A: None, self.B: self.B}
        assert self.route(slots, tables) == self.B
        slots = Slots([self.A])
        assert self.route(slots, {self.A: self.B, self.B: self.B}) == self.B
        assert isinstance(self.route(slots, {self.A: None}), LostError)
        assert self.route(slots, tables) == self.B
