"""Convert Python values to standard msgpack and back.

`dumps` and `loads` support plain data and the types listed in docs/formats.md. The
bytes are readable in any language and interchangeable with those of LangGraph's
`JsonPlusSerializer`. A `Codec` remembers which classes it may construct.
"""

from swarmstate._core import Codec, dumps, loads

__all__ = ["Codec", "dumps", "loads"]
