"""The status of the back end, as a page for browsers and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from html import escape
from typing import Any

from sam_backend import __version__
from sam_backend.doctor.finding import Finding
from sam_backend.server import check_page as checks
from sam_backend.server import click_table
from sam_backend.services import Services
from sam_backend.shared.click_log import ClickRecord

MOST_LABELS_SHOWN = 10


def report(services: Services) -> dict[str, Any]:
    """The state of this server as plain values."""
    return {**_facts(services), "last_clicks": [_plain(c) for c in services.click_log.last()]}


def _facts(services: Services) -> dict[str, Any]:
    return {
        "status": "UP",
        "version": __version__,
        "model": services.settings.sam_choice,
        "model_version": services.model_version,
        "engine": services.engine.state,
        "label_studio": services.settings.label_studio_url
        or services.state.believed()
        or "the first one that a project's setup names",
        "cache": {
            "images": len(services.images.embeddings),
            "mb": round(services.images.embeddings.nbytes / 2**20, 1),
            "limit_mb": services.settings.cache_mb,
        },
        "machines": services.common_store.state if services.common_store else "this one alone",
        "learnt": [asdict(each) for each in services.learning.known()],
        "last_errors": [asdict(refusal) for refusal in services.state.refusals() or []],
    }


def page(services: Services) -> str:
    """The report as a page without scripts and without external parts."""
    facts = _facts(services)
    cache = facts["cache"]
    rows = {
        "Version": facts["version"],
        "Model": f"{facts['model']} ({facts['model_version']})",
        "Engine": facts["engine"],
        "Label Studio": facts["label_studio"],
        "Images in memory": f"{cache['images']} ({cache['mb']} of {cache['limit_mb']} MB)",
        "Machines": facts["machines"],
        "Learnt": _learnt(facts["learnt"]),
    }
    table = "".join(f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items())
    return _whole(
        _STATUS.format(
            table=table,
            errors=_errors(facts["last_errors"]),
            clicks=click_table.table(services.click_log.last()),
        )
    )


def check_page(findings: list[Finding]) -> str:
    """What *Check my Label Studio* found."""
    return _whole(_CHECK.format(findings=checks.as_rows(findings)))


def _plain(click: ClickRecord) -> dict[str, Any]:
    """A click without its thumbnail, which is for people."""
    return {key: value for key, value in asdict(click).items() if key != "thumbnail"}


def _whole(content: str) -> str:
    return _HEAD + content + "</html>\n"


def _learnt(known: list[dict[str, Any]]) -> str:
    """How many masks were kept of each label, the first few."""
    found = [
        f"{each['count']} masks of {each['label']} in project {each['project'].partition('.')[0]}"
        + ("" if each["is_used"] else " (too few)")
        for each in known[:MOST_LABELS_SHOWN]
    ]
    more = ["…"] if len(known) > MOST_LABELS_SHOWN else []
    return "; ".join(found + more) or "nothing yet"


def _errors(errors: list[dict[str, Any]]) -> str:
    if not errors:
        return "<p>None so far.</p>"
    rows = "".join(
        f"<tr><td>{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(error['time']))}</td>"
        f"<td>{escape(error['where'])}</td><td>{escape(error['cause'])}</td>"
        f"<td>{escape(error['message'])}</td></tr>"
        for error in errors
    )
    head = "<tr><th>When</th><th>Where</th><th>Cause</th><th>What happened</th></tr>"
    return f"<table>{head}{rows}</table>"


# Nothing comes from elsewhere, and it fits a phone: only the table of clicks scrolls, in itself.
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SAM for Label Studio</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
        padding: 0 1rem; color: #1f2328; background: #fff; overflow-wrap: break-word; }
 table { border-collapse: collapse; width: 100%; }
 th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
          border-bottom: 1px solid #d8dee4; }
 th { white-space: nowrap; font-weight: 600; }
 td:last-child { overflow-wrap: anywhere; }
 .wide { overflow-x: auto; }
 .clicks { font-size: 14px; }
 .clicks td { white-space: nowrap; overflow-wrap: normal; }
 .clicks .n { text-align: right; font-variant-numeric: tabular-nums; }
 .clicks img { display: block; max-height: 3rem; border: 1px solid #d8dee4; }
 .findings { list-style: none; padding: 0; }
 .findings li { padding: .4rem 0 .4rem 2rem; text-indent: -2rem; border-bottom: 1px solid #d8dee4; }
 .sign { display: inline-block; width: 2rem; text-indent: 0; font-weight: 600; }
 .good .sign { color: #1a7f37; } .bad .sign { color: #cf222e; }
 form { margin: 1rem 0; } .findings + p { margin-top: 2rem; }
 input, button { font: inherit; padding: .3rem .6rem; } input { width: 6rem; }
</style>
"""

_STATUS = """<h1>SAM for Label Studio is up</h1>
<p>Connect it under <b>Settings &rarr; Model</b> of a project, with this page&rsquo;s address,
and switch on <b>Interactive preannotations</b>.</p>
<form method="post" action="check">
<label>Project number <input name="project" inputmode="numeric" placeholder="any"></label>
<button>Check my Label Studio</button></form>
<table>{table}</table>
<h2>Last errors</h2>
{errors}
<h2>Last clicks</h2>
{clicks}
"""

_CHECK = """<h1>Your Label Studio</h1>
{findings}
<p>Name a project&rsquo;s number to check its model, label config and images. Its address shows it:
<code>/projects/3/</code>.</p>
<form method="post" action="check">
<label>Project number <input name="project" inputmode="numeric" placeholder="any"></label>
<button>Check again</button></form>
<p><a href="./">Back to the status page</a></p>
"""
