"""Values that nobody expects, and real ones with some of them inside."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

_HARD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "\u0000",
    "\U0010ffff",
    "../../etc/passwd",
    "data:image/png;base64,AAAA",
    "x" * 5000,
    [],
    {},
    [[]],
    [None],
]


def _nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


scalars = (
    st.sampled_from(_HARD).map(copy.deepcopy) | st.floats() | st.integers() | st.text(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
deep = st.integers(1, 120).map(_nested)


@st.composite
def damaged(draw: st.DrawFn, real: Any) -> Any:
    """A real value with one to four places in it replaced, removed or doubled."""
    value = copy.deepcopy(real)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(value))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(("replace", "replace", "deep", "remove", "double")))
        if what == "replace":
            holder[key] = draw(values)
        elif what == "deep":
            holder[key] = draw(deep)
        elif what == "remove":
            del holder[key]
        elif isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key]) for _ in range(draw(st.integers(1, 3))))
        else:
            holder[draw(st.text(max_size=8))] = copy.deepcopy(holder[key])
    return value


def _places(value: Any) -> Any:
    pending = [value]
    while pending:
        holder = pending.pop()
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                pending.append(holder[key])
