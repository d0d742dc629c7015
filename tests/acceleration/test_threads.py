"""Which threads accelerated runs use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from operator import add
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.swarmstate import accelerate, deaccelerate
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

# A run that waits forever must fail its test instead of blocking it.
PATIENCE = 60


class State(TypedDict):
    seen: Annotated[list[Any], add]


@pytest.fixture(autouse=True)
def _accelerated() -> Iterator[None]:
    with accelerate("threads") as acceleration:
        assert acceleration.applied == ("threads",)
        yield


def parallel(*nodes: Callable[[State], Any]) -> Any:
    """Return a graph whose nodes run in parallel, in threads of the run."""
    builder: Any = StateGraph(State)
    for number, node in enumerate(nodes):
        builder.add_node(f"node-{number}", lambda state, node=node: {"seen": [node(state)]})
        builder.add_edge(START, f"node-{number}")
    return builder.compile()


def thread(state: State) -> threading.Thread:
    return threading.current_thread()


def config(**options: Any) -> Any:
    return {"configurable": {"thread_id": "t"}, **options}


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls in parallel threads and return their results."""
    found: dict[int, Any] = {}

    def call(number: int) -> None:
        found[number] = calls[number]()

    threads = [
        threading.Thread(target=call, args=(number,), daemon=True) for number in range(len(calls))
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    return [found[number] for number in range(len(calls))]


def test_a_run_goes_on_with_the_threads_of_one_that_ended() -> None:
    graph = parallel(thread, thread)
    options = config(max_concurrency=2)
    first, *later = (set(graph.invoke({"seen": []}, options)["seen"]) for _ in range(5))
    assert len(set().union(first, *later)) <= 2
    assert threading.current_thread() not in first


def test_runs_with_another_limit_have_other_threads() -> None:
    graph = parallel(thread, thread)
    one = graph.invoke({"seen": []}, config(max_concurrency=1))["seen"]
    assert len(set(one)) == 1
    meeting = threading.Barrier(2)
    both = parallel(lambda state: meeting.wait(PATIENCE), lambda state: meeting.wait(PATIENCE))
    both.invoke({"seen": []}, config(max_concurrency=2))


def test_runs_at_the_same_time_never_share_a_thread() -> None:
    meeting = threading.Barrier(3)

    def meet(state: State) -> threading.Thread:
        meeting.wait(PATIENCE)
        return threading.current_thread()

    graph = parallel(meet, lambda state: None)
    calls = [lambda: graph.invoke({"seen": []}, config(max_concurrency=1))["seen"]] * 3
    met = [next(each for each in seen if each) for seen in in_threads(*calls)]
    assert len(set(met)) == 3


def test_a_run_inside_of_a_run_has_threads_of_its_own() -> None:
    inner = parallel(thread, thread)

    def invoke_inner(state: State) -> list[threading.Thread]:
        seen: list[threading.Thread] = inner.invoke({"seen": []}, config(max_concurrency=1))["seen"]
        return [threading.current_thread(), *seen]

    outer = parallel(invoke_inner, invoke_inner)
    [found] = in_threads(lambda: outer.invoke({"seen": []}, config(max_concurrency=1))["seen"])
    for here, *inside in found:
        assert here not in inside


def test_a_run_that_fails_leaves_none_of_its_work_to_later_ones() -> None:
    def fail(state: State) -> None:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            parallel(fail, thread).invoke({"seen": []}, config())
    seen = parallel(thread, thread).invoke({"seen": []}, config())["seen"]
    assert len(seen) == 2


def test_undoing_it_ends_the_threads() -> None:
    meeting = threading.Barrier(2)

    def meet(state: State) -> threading.Thread:
        meeting.wait(PATIENCE)
        return threading.current_thread()

    def undo(state: State) -> threading.Thread:
        deaccelerate()
        return threading.current_thread()

    graph = parallel(meet, lambda state: None)
    left = in_threads(*[lambda: graph.invoke({"seen": []}, config())["seen"]] * 2)
    busy = parallel(undo, thread).invoke({"seen": []}, config())["seen"]
    assert not [each for each in [*left[0], *left[1], *busy] if each and each.is_alive()]


def test_a_forked_child_starts_threads_of_its_own() -> None:
    meeting = threading.Barrier(2)
    meet = [lambda state: meeting.wait(PATIENCE)] * 2
    parallel(*meet).invoke({"seen": []}, config())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            graph = parallel(thread, thread)
            [seen] = in_threads(lambda: graph.invoke({"seen": []}, config())["seen"])
            code = 0 if len(seen) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
