"""Does Label Studio answer at its address?"""

from __future__ import annotations

from sam_backend.doctor.asking import Reply, Silence, Studio
from sam_backend.doctor.finding import Finding, bad, good

CHECK = "Label Studio"
_RIGHT_ADDRESS = "Set LABEL_STUDIO_URL to an address of Label Studio that works from this machine."


def unknown_place() -> Finding:
    return bad(
        CHECK,
        "its address is not known.",
        "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or open the project's settings in Label "
        "Studio, which then sends its address to a connected model.",
    )


def check(studio: Studio) -> Finding:
    return judge(studio.url, studio.ask_without_token("/api/version/"))


def judge(url: str, reply: Reply) -> Finding:
    """`reply` is the answer to `/api/version/`, which needs no token."""
    if isinstance(reply, Silence) and reply.is_untrusted_certificate:
        return bad(
            CHECK,
            f"the certificate of {url} is not trusted here.",
            "Set REQUESTS_CA_BUNDLE to a file with the certificates of your organisation.",
        )
    if isinstance(reply, Silence):
        return bad(CHECK, f"{url} cannot be reached ({reply.why}).", _RIGHT_ADDRESS)
    if 300 <= reply.status < 400:
        return bad(CHECK, f"{url} redirects to {reply.location}.", _RIGHT_ADDRESS)
    version = reply.value.get("release") if isinstance(reply.value, dict) else None
    if not isinstance(version, str):
        return bad(
            CHECK, f"{url} does not answer as Label Studio does ({reply.status}).", _RIGHT_ADDRESS
        )
    return good(CHECK, f"version {version} answers at {url}.")
