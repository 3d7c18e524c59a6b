"""The status of the back end, as a page for browsers and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from html import escape
from typing import Any

from sam_backend import __version__
from sam_backend.services import Services


def report(services: Services) -> dict[str, Any]:
    """The state of this server as plain values."""
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
        "last_errors": [asdict(refusal) for refusal in services.state.refusals() or []],
    }


def page(services: Services) -> str:
    """The report as a page without scripts and without external parts."""
    facts = report(services)
    cache = facts["cache"]
    rows = {
        "Version": facts["version"],
        "Model": f"{facts['model']} ({facts['model_version']})",
        "Engine": facts["engine"],
        "Label Studio": facts["label_studio"],
        "Images in memory": f"{cache['images']} ({cache['mb']} of {cache['limit_mb']} MB)",
    }
    table = "".join(f"<tr><th>{k}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items())
    return _PAGE.format(table=table, errors=_errors(facts["last_errors"]))


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


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>SAM for Label Studio</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
        padding: 0 1rem; color: #1f2328; background: #fff; }}
 table {{ border-collapse: collapse; width: 100%; }}
 th, td {{ text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
          border-bottom: 1px solid #d8dee4; }}
 th {{ white-space: nowrap; font-weight: 600; }}
</style>
<h1>SAM for Label Studio is up</h1>
<p>Connect it under <b>Settings &rarr; Model</b> of a project, with this page&rsquo;s address,
and switch on <b>Interactive preannotations</b>.</p>
<table>{table}</table>
<h2>Last errors</h2>
{errors}
</html>
"""
