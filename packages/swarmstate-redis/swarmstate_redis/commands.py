"""Commands to Redis, and when to retry them; free of I/O.

An operation is a generator: it yields the commands of one round trip, is sent their
outcomes, and returns its result. An `Exchange` decides what to send, and to send again,
until every command has an outcome. So sync and async calls differ only in how they send
and wait.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import NoScriptError, ResponseError

from swarmstate_redis.failures import is_read_only, is_transient, waited_for

T = TypeVar("T")

Words = Sequence[bytes]
"""A command as sent."""

Outcome = Any
"""The reply to a command, or an exception."""

# The first retry is immediate: most broken connections broke long before.
_FIRST_DELAY, _LAST_DELAY = 0.02, 0.5

# How long a namespace surely remembers an applied batch: a minute by the server's clock.
_REMEMBERED_SECONDS = 59.0


# Lengths in the protocol's form, for nearly all words.
_LENGTHS = tuple(b"$%d\r\n" % length for length in range(1_024))


def packed(commands: Sequence[Words]) -> bytes:
    """Return commands in wire format (RESP), one after another."""
    parts: list[bytes] = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            length = len(word)
            parts += (_LENGTHS[length] if length < 1_024 else b"$%d\r\n" % length, word, b"\r\n")
    return b"".join(parts)


class Script:
    """A Lua script of this package.

    Args:
        names: The names of the files that it uses, then of its own, without extension.
    """

    def __init__(self, *names: str) -> None:
        folder = files("swarmstate_redis") / "scripts"
        self.source = b"\n".join((folder / f"{name}.lua").read_bytes() for name in names)
        # Not for security: this is how Redis names the script.
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()


class Command(NamedTuple):
    """One command.

    Attributes:
        words: The words of the first attempt.
        script: The script that it runs by hash, or None.
        mark: The index of the word that is b"1" if the command may have run before, or None.
    """

    words: Words
    script: Script | None = None
    mark: int | None = None

    @classmethod
    def of_script(
        cls, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Command:
        """Return a command that runs a script."""
        return cls([b"EVALSHA", script.sha, b"%d" % len(keys), *keys, *arguments], script)

    def words_again(self, *, again: bool, whole: bool) -> Words:
        """Return the words of a retry.

        Args:
            again: Whether the command may have run before.
            whole: Whether to send the source of the script, which the server does not know.
        """
        words = self.words
        if again and self.mark is not None:
            words = [*words[: self.mark], b"1", *words[self.mark + 1 :]]
        if whole and self.script is not None:
            words = [b"EVAL", self.script.source, *words[2:]]
        return words


Operation = Generator[Sequence[Command], list[Outcome], T]


def all_done(outcomes: Sequence[Outcome]) -> bool:
    """Return whether no command failed, so that there is nothing to retry."""
    return not any(isinstance(outcome, Exception) for outcome in outcomes)


class Exchange:
    """The commands of one round trip, on their way to outcomes after the first attempt.

    Commands are retried if the connection is lost or the server is temporarily unable to
    run them. A script that the server does not know is sent again with its source. Each
    command can run twice without harm: all are idempotent except batches with an
    expectation, which carry a token.

    Args:
        commands: The commands.
        outcomes: The outcomes of the first attempt.
        started: The time of the first attempt, by the monotonic clock.
        retry_for: Seconds to keep retrying after the first failure.
        only_reads: Whether the server is known to refuse writes; a refused write is then
            retried only once, over another connection.

    Attributes:
        outcomes: The outcome of each command so far.
        delay: Seconds to wait before sending the next words.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        outcomes: Sequence[Outcome],
        started: float,
        retry_for: float,
        *,
        only_reads: bool = False,
    ) -> None:
        self._commands = commands
        self._started = started
        self._retry_for = retry_for
        self._only_reads = only_reads
        self._deadline: float | None = None
        self._missing: Sequence[int] = range(len(commands))
        self._again: set[int] = set()
        self._whole: set[int] = set()
        self.outcomes: list[Outcome] = [None] * len(commands)
        self.delay = 0.0
        self.settle(outcomes)

    def words(self) -> list[Words]:
        """Return the commands to send next; empty if all are done."""
        return [
            self._commands[index].words_again(
                again=index in self._again, whole=index in self._whole
            )
            for index in self._missing
        ]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of the commands that `words` returned."""
        unknown: list[int] = []
        failed: list[int] = []
        for index, outcome in zip(self._missing, outcomes, strict=True):
            if isinstance(outcome, list) and self._may_be_forgotten(index):
                # A conflict, perhaps with its own first attempt; `write.lua` reports it so, too.
                outcome = ResponseError(f"UNKNOWN {outcome[0]}")
            self.outcomes[index] = outcome
            if isinstance(outcome, Exception):
                if isinstance(outcome, NoScriptError) and index not in self._whole:
                    unknown.append(index)
                elif is_transient(outcome) and not self._is_in_vain(index, outcome):
                    failed.append(index)
        self._whole.update(unknown)
        self._again.update(failed)
        if failed and not self._may_go_on(max(waited_for(self.outcomes[each]) for each in failed)):
            failed = []
        self._missing = sorted([*unknown, *failed])

    def _may_be_forgotten(self, index: int) -> bool:
        return (
            index in self._again
            and self._commands[index].mark is not None
            and time.monotonic() - self._started > _REMEMBERED_SECONDS
        )

    def _is_in_vain(self, index: int, error: Exception) -> bool:
        return self._only_reads and index in self._again and is_read_only(error)

    def _may_go_on(self, waited: float) -> bool:
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._retry_for - waited
            return now < self._deadline
        self.delay = min(max(self.delay * 2, _FIRST_DELAY), _LAST_DELAY)
        return now + self.delay < self._deadline


def filled(outcomes: list[Outcome], commands: Sequence[Words], error: Exception) -> list[Outcome]:
    """Complete the outcomes of commands with an error for each that has none."""
    return [*outcomes, *[error] * (len(commands) - len(outcomes))]
