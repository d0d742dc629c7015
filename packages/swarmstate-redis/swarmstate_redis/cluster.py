"""Links to a cluster: which node serves a key, and a link to each node.

redis-py's own cluster clients retry whatever failed, even what a node may be executing at
that moment, and hide that they did. So nodes get the same links as a single server, and this
module adds only the routing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from redis.exceptions import AskError as RedirectError
from redis.exceptions import ClusterDownError, MovedError, ResponseError
from redis.exceptions import ConnectionError as LostError

from swarmstate_redis.async_links import ConnectionsLink
from swarmstate_redis.commands import Outcome, Words
from swarmstate_redis.failures import AnswerTimeoutError, codes_of, is_transient
from swarmstate_redis.links import DirectLink, finished
from swarmstate_redis.names import SLOTS, slot_of

LinkT = TypeVar("LinkT")

Address = tuple[str, int]
"""Host and port of a node."""

Parcel = tuple[Address, list[Words]]
"""Commands, and the node to send them to."""

Routing = Generator[Sequence[Parcel], Sequence[Sequence[Outcome]], list[Outcome]]
"""Yields parcels to send at once, is sent their outcomes, and returns those of all commands."""

# How often a command may be sent to another node: a moving slot redirects twice.
_HOPS = 5
_REDIRECTION = re.compile(r"(?:(MOVED|ASK) )?(\d+) (.*):(\d+)$")
_ASKING: Words = [b"ASKING"]
_SLOTS: Words = [b"CLUSTER", b"SLOTS"]


class Slots:
    """The map of slots to nodes; free of I/O, and for any number of threads.

    Args:
        seeds: The nodes to ask first.
        remap: Maps the address that a node announces to its real one, like redis-py's
            `address_remap`.

    Attributes:
        masters: The nodes that serve slots; a new object each time the map is learned.
    """

    def __init__(
        self, seeds: Iterable[Address], remap: Callable[[Address], Address] | None = None
    ) -> None:
        self._seeds = list(seeds)
        self._remap = remap
        # The nodes to ask, the most promising first.
        self._nodes = list(self._seeds)
        self._serving: list[Address | None] = [None] * SLOTS
        self._is_known = False
        self.masters: frozenset[Address] = frozenset()

    def routed(self, commands: Sequence[Words]) -> Routing:
        """Send commands to the nodes that serve their keys, and follow redirections."""
        if not self._is_known:
            failure = yield from self._ask()
            if failure is not None:
                return [failure] * len(commands)
        outcomes: list[Outcome] = [None] * len(commands)
        missing: Sequence[int] = range(len(commands))
        asking: dict[int, Address] = {}
        for _ in range(_HOPS):
            shares: dict[Address, list[int]] = {}
            for index in missing:
                address = asking.get(index) or self._serving[slot_of(_key_of(commands[index]))]
                if address is None:
                    self._is_known = False
                    outcomes[index] = ClusterDownError("CLUSTERDOWN no node serves the slot")
                else:
                    shares.setdefault(address, []).append(index)
            # All take connections in the same order, so there is no deadlock.
            order = sorted(shares)
            replies = yield [
                (
                    node,
                    [words for index in shares[node] for words in _asked(index, asking, commands)],
                )
                for node in order
            ]
            missing = []
            for node, answers in zip(order, replies, strict=True):
                answer = iter(answers)
                for index in shares[node]:
                    if asking.pop(index, None) is not None:
                        next(answer)
                    outcome = outcomes[index] = next(answer)
                    if isinstance(outcome, Exception) and self._sent_on(
                        outcome, node, index, asking
                    ):
                        missing.append(index)
            if not missing:
                return outcomes
        lost = LostError("its nodes disagree on who serves a slot")
        for index in missing:
            outcomes[index] = lost
        return outcomes

    def _sent_on(
        self, error: Exception, node: Address, index: int, asking: dict[int, Address]
    ) -> bool:
        """Take note of a failure; return whether it redirects the command to another node."""
        if isinstance(error, ResponseError):
            found = _REDIRECTION.match(str(error))
            if found is not None and (found[1] or isinstance(error, RedirectError)):
                to = self._address(found[3], int(found[4]), node)
                if found[1] == "MOVED" or isinstance(error, MovedError):
                    self._serving[int(found[2])] = to
                    # Other slots have most likely moved with it, and its new node knows best.
                    self._is_known = False
                    self._nodes = [to, *(each for each in self._nodes if each != to)]
                else:
                    asking[index] = to
                return True
        if (
            isinstance(error, AnswerTimeoutError)
            or (is_transient(error) and not isinstance(error, ResponseError))
            or "CLUSTERDOWN" in codes_of(error)
        ):
            self._is_known = False
            # The node asked last may itself be cut off from the others and be out of date.
            last, *others = self._nodes
            self._nodes = [*(each for each in [*others, last] if each != node), node]
        return False

    def _ask(self) -> Generator[Sequence[Parcel], Sequence[Sequence[Outcome]], Exception | None]:
        failure: Exception | None = None
        partial: tuple[int, Address, Sequence[Any]] | None = None
        for node in self._nodes:
            [[outcome]] = yield [(node, [_SLOTS])]
            if isinstance(outcome, Exception):
                failure = outcome
                continue
            served = sum(last + 1 - first for first, last, *_ in outcome)
            if served == SLOTS:
                self._learn(outcome, node)
                return None
            # The node may have left the cluster, or restarted without its state.
            if partial is None or served > partial[0]:
                partial = served, node, outcome
        if partial is not None:
            self._learn(partial[2], partial[1])
            return None
        if isinstance(failure, AnswerTimeoutError):
            # Only the question was sent, so everything may be retried.
            return LostError(f"no node sent the slot map: no answer {failure}")
        return failure

    def _learn(self, reply: Sequence[Any], asked: Address) -> None:
        serving: list[Address | None] = [None] * SLOTS
        # When another node is needed, replicas may be the only known nodes left.
        replicas: list[Address] = []
        for first, last, *nodes in reply:
            master, *others = [
                self._address((host or b"").decode(), int(port), asked) for host, port, *_ in nodes
            ]
            serving[first : last + 1] = [master] * (last + 1 - first)
            replicas += others
        masters = frozenset(node for node in serving if node is not None)
        self._nodes = list(dict.fromkeys([asked, *sorted(masters), *replicas, *self._seeds]))
        self._serving = serving
        self._is_known = True
        self.masters = masters

    def _address(self, host: str, port: int, told_by: Address) -> Address:
        # A node that does not know its own address says so in one of these ways.
        address = told_by[0] if host in ("", "?") else host, port
        return address if self._remap is None else self._remap(address)


def _asked(index: int, asking: Mapping[int, Address], commands: Sequence[Words]) -> list[Words]:
    return [_ASKING, commands[index]] if index in asking else [commands[index]]


def _key_of(words: Words) -> bytes:
    """Return a key of a command; all of one command's keys share a slot."""
    return words[3] if words[0] in (b"EVALSHA", b"EVAL") else words[1]


class _NodeLinks(Generic[LinkT]):
    """Links to the nodes of a cluster, created on demand.

    Args:
        slots: The map of slots to nodes.
        connect: Creates the link to a node.
    """

    def __init__(self, slots: Slots, connect: Callable[[Address], LinkT]) -> None:
        self._slots = slots
        self._connect = connect
        self._links: dict[Address, LinkT] = {}
        self._masters = slots.masters

    def _left(self) -> list[LinkT]:
        """Return the links to nodes that are not masters, if the masters have changed.

        Nothing else would notice that their connections ended, and close them.
        """
        masters = self._slots.masters
        if masters is self._masters:
            return []
        self._masters = masters
        return [link for node, link in list(self._links.items()) if node not in masters]


class ClusterLink(_NodeLinks[DirectLink]):
    """A link to a cluster."""

    def __init__(self, slots: Slots, connect: Callable[[Address], DirectLink]) -> None:
        super().__init__(slots, connect)
        self._closed = False

    def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands to their nodes and return their outcomes."""
        routing = self._slots.routed(commands)
        try:
            parcels = next(routing)
            while True:
                parcels = routing.send(self._exchange(parcels))
        except StopIteration as done:
            for link in self._left():
                link.drop_idle()
            outcomes: list[Outcome] = done.value
            return outcomes

    def _exchange(self, parcels: Sequence[Parcel]) -> list[list[Outcome]]:
        if len(parcels) == 1:
            [(node, commands)] = parcels
            return [self._link(node).send(commands)]
        # Send to all nodes before waiting for the first.
        sendings = [self._link(node).sending(commands) for node, commands in parcels]
        try:
            for each in sendings:
                next(each)
            return [finished(each) for each in sendings]
        finally:
            for each in sendings:
                each.close()

    def _link(self, node: Address) -> DirectLink:
        link = self._links.get(node)
        if link is None:
            link = self._links.setdefault(node, self._connect(node))
            if self._closed:
                link.close()
        return link

    def close(self) -> None:
        """Close the connections; those in use are closed when their use ends."""
        self._closed = True
        for link in list(self._links.values()):
            link.close()


class AsyncClusterLink(_NodeLinks[ConnectionsLink]):
    """A link of one event loop to a cluster."""

    async def send(self, commands: Sequence[Words]) -> list[Outcome]:
        """Send commands to their nodes and return their outcomes."""
        routing = self._slots.routed(commands)
        try:
            parcels = next(routing)
            while True:
                parcels = routing.send(await self._exchange(parcels))
        except StopIteration as done:
            for link in self._left():
                await link.drop_idle()
            outcomes: list[Outcome] = done.value
            return outcomes

    async def _exchange(self, parcels: Sequence[Parcel]) -> list[list[Outcome]]:
        sendings = [self._link(node).send(commands) for node, commands in parcels]
        if len(sendings) == 1:
            return [await sendings[0]]
        return await asyncio.gather(*sendings)

    def _link(self, node: Address) -> ConnectionsLink:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = self._connect(node)
        return link

    async def close(self) -> None:
        """Close the connections."""
        try:
            while self._links:
                await self._links.popitem()[1].close()
        finally:
            # The rest, if the loop ends meanwhile, which cancels everything.
            while self._links:
                await self._links.popitem()[1].close()

    def abandon(self) -> None:
        """Do nothing: a loop that runs again closes them, any other has released them."""
