"""Commands to Redis, and when they are sent again; free of I/O.

An operation is a generator: it yields the commands of one round trip, is sent their
outcomes, and returns its result. An `Exchange` says what has to be sent, and sent
again, until every command has an outcome. So the sync and the async store differ in
nothing but how they send and wait.
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
"""A command as it is sent."""

Outcome = Any
"""What became of a command: the reply, or an exception."""

# The first repetition comes at once: most connections that broke were broken long before.
_FIRST_DELAY, _LAST_DELAY = 0.02, 0.5

# For so long a namespace is sure to know a batch that was applied: a minute by the server's clock.
_REMEMBERED_SECONDS = 59.0


# Lengths as the protocol writes them, of nearly all words there are.
_LENGTHS = tuple(b"$%d\r\n" % length for length in range(1_024))


def packed(commands: Sequence[Words]) -> bytes:
    """Return commands as they go over the wire (RESP), one after another."""
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
        names: Its file and, before it, those that it uses, without the extension.
    """

    def __init__(self, *names: str) -> None:
        folder = files("swarmstate_redis") / "scripts"
        self.source = b"\n".join((folder / f"{name}.lua").read_bytes() for name in names)
        # Not for security: it is the name that Redis gives the script.
        self.sha = sha1(self.source, usedforsecurity=False).hexdigest().encode()


class Command(NamedTuple):
    """One command.

    Attributes:
        words: What is sent, usually.
        script: The script that it runs by its name, or None.
        mark: Which word is b"1" when the command may have been executed before, or None.
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
        """Return what to send after the first time.

        Args:
            again: It may have been executed before.
            whole: The server does not know the script.
        """
        words = self.words
        if again and self.mark is not None:
            words = [*words[: self.mark], b"1", *words[self.mark + 1 :]]
        if whole and self.script is not None:
            words = [b"EVAL", self.script.source, *words[2:]]
        return words


Operation = Generator[Sequence[Command], list[Outcome], T]


def all_done(outcomes: Sequence[Outcome]) -> bool:
    """Tell whether no command failed, so that there is nothing to send again."""
    return not any(isinstance(outcome, Exception) for outcome in outcomes)


class Exchange:
    """The commands of one round trip, on their way to outcomes after the first attempt.

    What the connection lost, or the server could not do at the moment, is sent
    again; so is a script that the server does not know, with its source. Each
    command may be executed twice without harm: all are idempotent but batches
    with an expectation, which carry a token.

    Args:
        commands: The commands.
        outcomes: What became of each.
        started: When they were sent first, by the monotonic clock.
        retry_for: Seconds for which to go on after the first failure.
        only_reads: Whether the server is known to take no writes: then one is repeated only
            once, over another connection.

    Attributes:
        outcomes: What became of each command so far.
        delay: Seconds to wait before the next words are sent.
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
        """Return what is to be sent next; nothing when all is done."""
        return [
            self._commands[index].words_again(
                again=index in self._again, whole=index in self._whole
            )
            for index in self._missing
        ]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of what `words` returned."""
        unknown: list[int] = []
        failed: list[int] = []
        for index, outcome in zip(self._missing, outcomes, strict=True):
            if isinstance(outcome, list) and self._may_be_forgotten(index):
                # It is refused, perhaps for what it did itself; `write.lua` says so, too.
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
    """Return outcomes of all commands: an error for each that has none yet."""
    return [*outcomes, *[error] * (len(commands) - len(outcomes))]
