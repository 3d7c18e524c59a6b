"""Label Studio's protocol over HTTP: the app, its authentication, and its error answers."""

from __future__ import annotations

import logging
import sys
from time import perf_counter

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from sam_backend import lines, metrics
from sam_backend.server import browsers, credentials
from sam_backend.server.admission import body_limit
from sam_backend.server.json_http import answer
from sam_backend.server.operator_routes import OperatorRoutes
from sam_backend.server.programs.pages import Pages
from sam_backend.server.programs.problems import has_problems, problem
from sam_backend.server.programs.routes import Programs
from sam_backend.server.routes import Protocol
from sam_backend.server.startup import open_services
from sam_backend.services import Services
from sam_backend.settings import Settings

logger = logging.getLogger("sam_backend")


def open_app() -> Flask:
    """The app of one worker. The settings were checked before the port was opened."""
    settings = Settings.from_environment()
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lines.readable)
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[handler],
    )
    return create_app(settings, open_services(settings))


def create_app(settings: Settings, services: Services) -> Flask:
    """The app of one server process."""
    app = Flask("sam_backend", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb << 20
    app.config["BASIC_AUTH"] = settings.basic_auth
    protocol = Protocol(services)
    programs = Programs(services, protocol.clicks)
    served = (protocol, OperatorRoutes(services), programs, Pages(settings))
    for rule, (methods, handler) in (pair for each in served for pair in each.routes().items()):
        app.add_url_rule(rule, endpoint=rule, view_func=handler, methods=methods)

    @app.before_request
    def let_in() -> Response | None:
        g.started = perf_counter()
        request.max_content_length = body_limit(request.path, app.config["MAX_CONTENT_LENGTH"])
        header = request.headers.get("Authorization")
        if not credentials.are_enough(request.path, header, settings.basic_auth):
            return _unauthorized()
        is_guarded = settings.basic_auth is not None
        browsers.refuse_pages(request, is_guarded=is_guarded, names=settings.server_names)
        return None

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        metrics.REQUEST.labels(route).observe(perf_counter() - g.started)
        return response

    @app.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> Response:
        response = _refusal(error.code or 500, error.description)
        for name in ("Allow", "Retry-After"):
            if name in (headers := dict(error.get_headers())):
                response.headers[name] = headers[name]
        return response

    @app.errorhandler(RecursionError)
    def refuse_depth(_error: RecursionError) -> Response:
        return _refusal(400, "the request is nested too deeply")

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        logger.error("%s %s", request.method, request.path, exc_info=error)
        return _refusal(500, "the back end failed: see its log")

    return app


def _refusal(status: int, detail: object) -> Response:
    """An error in the format of the requested route."""
    if has_problems(request.path):
        return problem(status, detail)
    return answer({"error": lines.one_line(detail)}, status)


def _unauthorized() -> Response:
    response = _refusal(401, "user name or password is missing or wrong")
    response.headers["WWW-Authenticate"] = 'Basic realm="sam-backend"'
    return response
