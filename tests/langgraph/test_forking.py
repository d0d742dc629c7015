"""Web servers and job queues fork while threads use a saver; the child lacks these threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

PRELUDE = """
import os, signal, sys, threading, warnings

# What is tested is just what Python warns of from 3.12 on.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def in_child(work):
    process = os.fork()
    if process == 0:
        signal.alarm(10)  # Ends a child that waits for ever.
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1]
"""

# In modules with locks, a thread pauses at each line of a put that it has not reached before, and
# the process forks there.
PUTTING = """
import functools
from pathlib import Path
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.testing.checkpoints import Branch, make_checkpoint
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_metadata
from swarmstate.observability import PrometheusSink, Summary

SINKS = {"Summary": Summary, "PrometheusSink": PrometheusSink}
saver = SwarmStateSaver(metrics=SINKS[sys.argv[1]]())
seen, arrived, go_on = set(), threading.Semaphore(0), threading.Semaphore(0)
over = False


def put(thread):
    values = {"large": ["x" * 4_000, thread], "empty": None}
    checkpoint = make_checkpoint(values)
    del checkpoint["channel_values"]["empty"]
    stored = saver.put(at(thread), checkpoint, make_metadata(), dict.fromkeys(values, 1))
    saver.put(stored, make_checkpoint(values), make_metadata(), {"large": 2})
    saver.get_tuple(at(thread))


@functools.cache
def has_locks(file):
    return "swarmstate" in file and "Lock()" in Path(file).read_text(encoding="utf-8")


def trace(frame, event, argument):
    if not has_locks(frame.f_code.co_filename):
        return None
    place = frame.f_code.co_filename, frame.f_lineno
    if event == "line" and place not in seen:
        seen.add(place)
        arrived.release()
        go_on.acquire()
    return trace


def traced():
    global over
    sys.settrace(trace)
    put("parent")
    sys.settrace(None)
    over = True
    arrived.release()


put("before")
thread = threading.Thread(target=traced, daemon=True)
thread.start()
while arrived.acquire() and not over:
    status = in_child(lambda: put("child"))
    assert status == 0, (status, sys._current_frames()[thread.ident])
    go_on.release()
thread.join()
assert len(seen) > 20
"""

CACHED = """
import asyncio
from swarmstate.cached import cached

begun, end = threading.Event(), threading.Event()
parent = os.getpid()


@cached
def double(number):
    if os.getpid() == parent:
        begun.set()
        end.wait()
    return number * 2


@cached
async def triple(number):
    if os.getpid() == parent:
        begun.set()
        await asyncio.to_thread(end.wait)
    return number * 3


for call in (lambda: double(2), lambda: asyncio.run(triple(2))):
    begun.clear()
    end.clear()
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    begun.wait()
    status = in_child(call)
    end.set()
    thread.join()
    assert status == 0, status
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([PRELUDE + PUTTING, "Summary"], id="saver"),
        pytest.param([PRELUDE + PUTTING, "PrometheusSink"], id="saver, Prometheus"),
        pytest.param([PRELUDE + CACHED], id="cached"),
    ],
)
def test_a_child_waits_for_no_thread_of_its_parent(script: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", *script],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
