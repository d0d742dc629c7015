"""JSON stored by the first releases of LangGraph's savers is imported unchanged."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from langgraph.checkpoint.swarmstate.importing import import_sqlite
from langgraph.checkpoint.swarmstate.testing.checkpoints import at, make_checkpoint, make_metadata
from langgraph.types import Send
from pydantic import BaseModel
from swarmstate import Store


@dataclass
class Order:
    """A user's own class."""

    number: int
    status: Status


class Status(Enum):
    """A user's own enum."""

    PAID = "paid"


class Person(BaseModel):
    """A user's own model."""

    name: str


def as_json(value: Any) -> tuple[str, str]:
    """Return what langgraph-checkpoint 1.0.0 stored for a value."""

    def made_by(kind: Any, *args: Any, method: str | None = None, **kwargs: Any) -> dict[str, Any]:
        return {
            "lc": 2,
            "type": "constructor",
            "id": [*kind.__module__.split("."), kind.__name__],
            "method": method,
            "args": args,
            "kwargs": kwargs,
        }

    def default(each: Any) -> Any:
        if isinstance(each, BaseMessage):
            return each.to_json()
        if isinstance(each, Person):
            return made_by(Person, **each.model_dump())
        if isinstance(each, datetime):
            return made_by(datetime, each.isoformat(), method="fromisoformat")
        if isinstance(each, timezone):
            return made_by(timezone, *each.__reduce__()[1])
        if isinstance(each, timedelta):
            return made_by(timedelta, each.days, each.seconds, each.microseconds)
        if isinstance(each, bytes):
            return made_by(bytes, each.hex(), method="fromhex")
        if isinstance(each, Order):
            return made_by(Order, number=each.number, status=each.status)
        if isinstance(each, Status):
            return made_by(Status, each.value)
        if isinstance(each, Send):
            return made_by(Send, node=each.node, arg=each.arg) | {
                "id": ["langgraph", "constants", "Send"]
            }
        assert isinstance(each, (set, UUID))
        return made_by(type(each), list(each) if isinstance(each, set) else each.hex)

    return "json", json.dumps(value, default=default)


def test_values_that_the_first_releases_stored_as_json(tmp_path: Path) -> None:
    values = {
        "messages": [HumanMessage("Hello", id="1"), AIMessage("Good day", id="2")],
        "when": datetime(2024, 8, 6, 12, 30, tzinfo=timezone.utc),
        "zone": timezone(timedelta(hours=2)),
        "raw": b"\0\xff",
        "some": {UUID(int=7)},
        "order": Order(4, Status.PAID),
        "person": Person(name="Ada"),
    }
    sends = [Send("worker", {"i": 1}), Send("worker", {"i": 2})]
    path = str(tmp_path / "stock.sqlite")
    checkpoint = make_checkpoint(values)
    with SqliteSaver.from_conn_string(path) as saver:
        for thread in ("old", "hostile"):
            config = saver.put(at(thread), checkpoint, make_metadata(), {})
            saver.put_writes(config, [("__pregel_tasks", None)] * 2, "task")
    touched = tmp_path / "touched"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE checkpoints SET type = ?, checkpoint = ? WHERE thread_id = 'old'",
            as_json(checkpoint),
        )
        for index, send in enumerate(sends):
            connection.execute(
                "UPDATE writes SET type = ?, value = ? WHERE thread_id = 'old' AND idx = ?",
                (*as_json(send), index),
            )
        call = {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [str(touched)]}
        connection.execute(
            "UPDATE writes SET type = 'json', value = ? WHERE thread_id = 'hostile'",
            (json.dumps(call),),
        )
    store = Store()
    [failure] = import_sqlite(path, store).failures
    assert "'hostile'" in failure
    assert "cannot rebuild an instance of os.mkdir" in failure
    assert not touched.exists()
    found = SwarmStateSaver(store).get_tuple(at("old"))
    assert found is not None
    assert found.checkpoint["channel_values"] == values
    assert [write[2] for write in found.pending_writes or ()] == sends
