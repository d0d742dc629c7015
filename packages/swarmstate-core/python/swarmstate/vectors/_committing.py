"""Write records, in one batch with the log entry that names them.

An operation, written once and free of I/O; see `swarmstate.operations`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from swarmstate._plane import Batch, Expect
from swarmstate.codec import dumps
from swarmstate.errors import ConflictError, DimensionError
from swarmstate.operations import Operation, Write
from swarmstate.vectors import _layout as layout
from swarmstate.vectors._head import open_head
from swarmstate.vectors._shared import Shared


def commit(
    shared: Shared,
    put: Mapping[str, bytes],
    delete: Sequence[str],
    dimensions: int | None,
    expected: Mapping[str, bytes] | None = None,
) -> Operation[bool]:
    """Write records and the log entry that names them, and update the index.

    Return False, with nothing written, if the store may no longer hold `expected`
    (values by key).
    """
    ids = dumps([key.removeprefix(layout.ITEM) for key in (*put, *delete)])
    while True:
        head = yield from open_head(shared, dimensions)
        lane = choose_lane(shared)
        last = head.tails[lane]
        key, trim = layout.following(lane, last)
        batch = Batch(
            shared.namespace,
            put={**put, key: ids},
            delete=delete,
            delete_ranges=trim,
            expect=Expect(layout.lane_prefix(lane), last),
            expect_values=expected or {},
        )
        view = shared.view
        ticket = view.index.begin()[0] if view else 0
        shared.busy.add(lane)
        try:
            yield Write([batch])
            head.tails[lane] = key
            # Update the index only if it has read the lane up to here. Otherwise it would know more
            # than its cursors say, and keep that even if the collection were reset to the state of
            # the cursors. An index that is behind catches up at the next search.
            if view and view.cursors.get(lane) == last:
                try:
                    view.index.apply(ticket, [*put.items(), *((each, None) for each in delete)])
                except DimensionError:
                    # The index is of a collection that has been cleared since.
                    shared.drop(view)
                    return True
                view.advance(lane, key)
                shared.save_if_due(view)
            return True
        except ConflictError:
            # Somebody else is writing to this lane: choose another one. Read the head again,
            # unless another thread of this process has done so.
            shared.lane = random.choice(layout.LANES)
            if shared.head is head and head.tails[lane] == last:
                shared.head = None
            if expected is not None:
                return False
        finally:
            shared.busy.discard(lane)
            if view:
                view.index.end(ticket)


def choose_lane(shared: Shared) -> int:
    if shared.lane not in shared.busy:
        return shared.lane
    free = [lane for lane in layout.LANES if lane not in shared.busy]
    return random.choice(free or layout.LANES)
