"""Does Label Studio reach this back end at the address that people are to enter?

Label Studio is asked to connect a model at a path where this back end answers that it has none. If
it gets here, it reports that answer, or our 401 where a password is set. Nothing is created.
"""

from __future__ import annotations

import re

from sam_backend.doctor.asking import Reply, Silence, Studio
from sam_backend.doctor.finding import Finding, bad, good, unknown

CHECK = "From Label Studio to here"
PATH = "/check"
# In place of "Not Found". Label Studio repeats it, and nothing else of an answer.
REASON = "sam-backend has no model here"
_ARRIVED = re.compile(rf"{REASON}|authentication parameters")


def check(studio: Studio, project: int, address: str) -> Finding:
    model = {"project": project, "url": address + PATH, "title": "check"}
    reply = studio.tell("POST", "/api/ml", model)
    finding = judge(address, reply)
    if not isinstance(reply, Silence) and reply.status == 201:  # a server that says yes to all
        studio.tell("DELETE", f"/api/ml/{reply.value['id']}")
    return finding


def judge(address: str, reply: Reply) -> Finding:
    if isinstance(reply, Silence):
        return unknown(CHECK, f"Label Studio did not answer ({reply.why}).")
    if reply.status == 400 and _ARRIVED.search(reply.detail):
        return good(CHECK, f"Label Studio reaches {address}.")
    if reply.status == 400 and "Can't connect" in reply.detail:
        return bad(
            CHECK,
            f"Label Studio cannot reach this back end at {address}.",
            "Enter an address of this machine that works where Label Studio runs: a container "
            "needs the host's address or the name of the service.",
        )
    if reply.status in (201, 400):
        return bad(CHECK, f"another server answers at {address}.", "Enter this back end's address.")
    return unknown(CHECK, f"Label Studio answered with {reply.status}: {reply.detail}.")
