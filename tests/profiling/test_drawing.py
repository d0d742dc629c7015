"""A profile as a table and as a drawing."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import swarmstate
from langgraph.checkpoint.swarmstate import SwarmStateSaver
from swarmstate import Store

from tests.profiling.graphs import NAP, SlowStore, built, by_name, call, nap


def test_the_table_and_the_drawing_tell_the_same() -> None:
    graph = built(SwarmStateSaver(), **{'<one> & "two"': nap})
    with swarmstate.profile() as profile:
        call(graph, False)
        call(graph, False)
    table = str(profile).splitlines()
    assert table[0] == f"2 runs, {profile.seconds / 2 * 1e3:.2f} ms each"
    assert [line.split("  ")[0] for line in table[2:]] == [row.name for row in profile.rows()]
    shares = [float(line.split("%")[0].split()[-1]) for line in table[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    drawing = ElementTree.fromstring(profile.to_svg())
    assert profile._repr_html_() == profile.to_svg()
    svg = "{http://www.w3.org/2000/svg}"
    blocks = {
        str(group.findtext(f"{svg}title")).rpartition(": ")[0]: group.find(f"{svg}rect")
        for group in drawing.iter(f"{svg}g")
    }
    node = blocks['node <one> & "two"']
    assert node is not None
    share = by_name(profile)['node <one> & "two"'].seconds / profile.seconds
    assert float(node.attrib["width"]) == pytest.approx(940 * share, abs=0.1)
    assert {"framework", "checkpoint.put", "checkpoint.get", "encode", "store I/O"} <= set(blocks)


def test_a_drawing_is_sound_whatever_nodes_are_called() -> None:
    graph = built(SwarmStateSaver(), **{"\x1bone\x00": nap})
    with swarmstate.profile() as profile:
        call(graph, False)
    drawing = ElementTree.fromstring(profile.to_svg())
    assert "node \ufffdone\ufffd: " in "".join(drawing.itertext())


def test_a_drawing_cuts_wide_names_to_the_room_they_have() -> None:
    wide = "\u5ba2" * 100
    graph = built(SwarmStateSaver(), **{wide: nap})
    with swarmstate.profile() as profile:
        call(graph, False)
    svg = "{http://www.w3.org/2000/svg}"
    [block] = [
        group
        for group in ElementTree.fromstring(profile.to_svg()).iter(f"{svg}g")
        if wide in str(group.findtext(f"{svg}title"))
    ]
    rect, label = block.find(f"{svg}rect"), str(block.findtext(f"{svg}text", ""))
    assert rect is not None
    # Such a character is as wide as it is high: 12 pixels, or slightly less.
    assert label.count("\u5ba2") * 11 <= float(rect.attrib["width"])


def test_nothing_is_drawn_below_itself() -> None:
    store = SlowStore(Store())
    graph = built(SwarmStateSaver(store), one=lambda state: {})
    store.seconds = NAP
    with swarmstate.profile() as profile:
        call(graph, False, durability="sync")
    drawing = ElementTree.fromstring(profile.to_svg())
    rows = {rect.get("y") for rect in drawing.iter("{http://www.w3.org/2000/svg}rect")}
    # The background, the parts of the run, and what the checkpointer's methods do.
    assert len(rows - {None}) == 2
