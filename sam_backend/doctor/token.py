"""Does Label Studio accept the token?"""

from __future__ import annotations

from sam_backend.doctor.asking import Reply, Silence, Studio
from sam_backend.doctor.finding import Finding, bad, good
from sam_backend.errors import Refusal

CHECK = "Token"
_REMEDY = (
    "Create a Personal Access Token under Account & Settings and set it as LABEL_STUDIO_API_KEY, "
    "together with LABEL_STUDIO_URL."
)


def check(studio: Studio) -> Finding:
    if not studio.has_token:
        return bad(CHECK, "there is none.", _REMEDY)
    try:
        return judge(studio.ask("/api/current-user/whoami"))
    except Refusal as refusal:  # the exchange of a personal token
        return bad(CHECK, f"{refusal}.")


def judge(reply: Reply) -> Finding:
    """`reply` is the answer to `/api/current-user/whoami`, asked with the token."""
    if isinstance(reply, Silence):
        return bad(CHECK, f"Label Studio did not answer ({reply.why}).", "Try again.")
    if reply.status in (401, 403):
        return bad(
            CHECK,
            "Label Studio does not accept it: it is wrong, or legacy tokens are off.",
            _REMEDY,
        )
    if reply.status != 200 or not isinstance(reply.value, dict) or "id" not in reply.value:
        return bad(
            CHECK,
            f"Label Studio did not say which user it belongs to ({reply.status}).",
            "Check that LABEL_STUDIO_URL is Label Studio's own address.",
        )
    return good(CHECK, "Label Studio accepts it.")
