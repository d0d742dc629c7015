"""Python values to standard msgpack and back.

`dumps` and `loads` take plain data and the types listed in docs/formats.md; the
bytes are readable in any language and interchangeable with those of LangGraph's
`JsonPlusSerializer`. `Codec` holds a rule about which classes it takes.
"""

from swarmstate._core import Codec, dumps, loads

__all__ = ["Codec", "dumps", "loads"]
