"""May Label Studio call a local address? Two of its switches decide, and neither can be read.

So this asks Label Studio to connect a model, and to make a webhook, with one field that is wrong.
It looks at the address first, and it creates nothing.
"""

from __future__ import annotations

import re

from sam_backend.doctor.asking import Reply, Silence, Studio
from sam_backend.doctor.finding import Finding, bad, good, unknown

MODELS, WEBHOOKS = "Models at this address", "Webhooks at this address"
_BLOCKED = re.compile(r"reserved network|not allowed|local IP|private network", re.IGNORECASE)
_UNRESOLVED = re.compile(r"resolve hostname", re.IGNORECASE)
_WRONG = "none"  # neither a number nor an action


def check(studio: Studio, project: int, address: str) -> list[Finding]:
    model = {"project": project, "url": address, "title": "check", "timeout": _WRONG}
    hook = {"project": project, "url": f"{address}/webhook", "actions": [_WRONG]}
    return [
        judge(MODELS, "ML_BLOCK_LOCAL_IP", address, studio.tell("POST", "/api/ml", model)),
        judge(
            WEBHOOKS,
            "USE_DEFAULT_BANNED_SUBNETS",
            address,
            studio.tell("POST", "/api/webhooks/", hook),
        ),
    ]


def judge(what: str, switch: str, address: str, reply: Reply) -> Finding:
    """`reply` is the answer to a request whose address is right and whose other field is wrong."""
    if isinstance(reply, Silence):
        return unknown(what, f"Label Studio did not answer ({reply.why}).")
    if _UNRESOLVED.search(reply.detail):
        return bad(
            what,
            f"Label Studio cannot resolve the host of {address}.",
            "Choose an address of this machine that works where Label Studio runs.",
        )
    if _BLOCKED.search(reply.detail):
        return bad(
            what, f"Label Studio refuses {address}.", f"Start Label Studio with {switch}=false."
        )
    if reply.status == 400:
        return good(what, f"Label Studio accepts {address}.")
    return unknown(what, f"Label Studio answered with {reply.status}: {reply.detail}.")
