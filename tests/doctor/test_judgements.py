"""What each check makes of Label Studio's answers; tests/e2e/test_doctor.py has the real ones."""

from __future__ import annotations

from typing import Any

import pytest

from sam_backend.clicks import label_config
from sam_backend.clicks.prompts import from_click
from sam_backend.doctor import (
    back_end_reachable,
    config,
    connection,
    editor,
    images,
    label_studio_reachable,
    recent_errors,
    switches,
    token,
    trial,
    trial_prompt,
)
from sam_backend.doctor.asking import Answer, Reply, Silence, value_of
from sam_backend.doctor.finding import Finding, Verdict, bad, good
from sam_backend.errors import Refusal
from sam_backend.images.tasks import Picture
from sam_backend.shared.click_log import ClickRecord
from sam_backend.shared.projects import Project
from sam_backend.shared.refusal_records import RefusalRecord
from sam_backend.watched_click import WatchedClick
from tests.fakes import BRUSH_LABELS, SHARED_LABELS, inline, picture

URL, HERE = "http://studio.example", "http://localhost:9090"
NOTHING = Silence("ConnectionError")


def invalid(**problems: list[str]) -> Answer:
    """What Label Studio answers to a form with wrong fields."""
    return Answer(400, {"detail": "Validation error", "validation_errors": problems})


def refused(status: int, detail: str) -> Answer:
    return Answer(status, {"detail": detail})


def test_a_finding_is_one_line_without_control_characters() -> None:
    assert good("Token", "fine.").line == "✓ Token: fine."
    assert bad("Token", "a\nb", "Do \x1b[31mthis.").line == "✗ Token: a\\nb Do \\x1b[31mthis."


def test_a_finding_has_no_password_and_a_limited_length() -> None:
    finding = connection.judge([model(state="DI", url="http://ann:secret@host:1/")], "v", HERE)
    assert "secret" not in finding.line
    assert "http://host:1/" in finding.line
    assert len(good("Token", "x" * 100_000).line) < 1000


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (NOTHING, "LABEL_STUDIO_URL"),
        (Silence("SSLError", is_untrusted_certificate=True), "REQUESTS_CA_BUNDLE"),
        (Answer(302, None, "https://studio.example/"), "redirects to https://studio.example/"),
        (Answer(200, {"hello": "world"}), "does not answer as Label Studio"),
        (Answer(200, None), "does not answer as Label Studio"),
        (Answer(404, None), "404"),
    ],
)
def test_label_studio_does_not_answer(reply: Reply, said: str) -> None:
    finding = label_studio_reachable.judge(URL, reply)
    assert finding.state is Verdict.BAD
    assert said in finding.line


def test_label_studio_answers() -> None:
    finding = label_studio_reachable.judge(URL, Answer(200, {"release": "1.23.2"}))
    assert finding.line == "✓ Label Studio: version 1.23.2 answers at http://studio.example."


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Answer(200, {"id": 1, "email": "ann@example.com"}), Verdict.GOOD),
        (refused(401, "Invalid token."), Verdict.BAD),
        (refused(403, "no"), Verdict.BAD),
        (Answer(200, "a page"), Verdict.BAD),
        (NOTHING, Verdict.BAD),
    ],
)
def test_the_token(reply: Reply, state: Verdict) -> None:
    finding = token.judge(reply)
    assert finding.state is state
    assert "ann@example.com" not in finding.line


@pytest.mark.parametrize(
    ("reply", "state", "said"),
    [
        (invalid(timeout=["A valid number is required."]), Verdict.GOOD, "accepts"),
        (
            refused(403, "URL resolves to a reserved network address (block: 127.0.0.0/8)"),
            Verdict.BAD,
            "ML_BLOCK_LOCAL_IP=false",
        ),
        (
            refused(403, "The provided URL was not valid. URLs … cannot be local IPs."),
            Verdict.BAD,
            "ML_BLOCK_LOCAL_IP=false",
        ),
        (refused(500, "Can't resolve hostname sam"), Verdict.BAD, "cannot resolve"),
        (
            refused(403, "You do not have permission to perform this action."),
            Verdict.UNKNOWN,
            "403",
        ),
        (NOTHING, Verdict.UNKNOWN, "did not answer"),
    ],
)
def test_the_switches(reply: Reply, state: Verdict, said: str) -> None:
    finding = switches.judge(switches.MODELS, "ML_BLOCK_LOCAL_IP", HERE, reply)
    assert finding.state is state
    assert said in finding.line


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("Can't connect … 404 Client Error: sam-backend has no model here for url", Verdict.GOOD),
        ("Can't connect to ML backend, health check failed. … 404 Client Error", Verdict.BAD),
        ("Able to connect to ML Server, but authentication parameters were …", Verdict.GOOD),
        ("Can't connect to ML backend, health check failed. … Connection refused", Verdict.BAD),
        ("Successfully connected to … but it doesn't look like a valid ML backend", Verdict.BAD),
    ],
)
def test_the_way_from_label_studio_to_here(said: str, state: Verdict) -> None:
    assert back_end_reachable.judge(HERE, invalid(non_field_errors=[said])).state is state


def test_a_server_that_says_yes_to_everything_is_another_one() -> None:
    assert back_end_reachable.judge(HERE, Answer(201, {"id": 9})).state is Verdict.BAD
    assert back_end_reachable.judge(HERE, NOTHING).state is Verdict.UNKNOWN
    assert back_end_reachable.judge(HERE, refused(500, "oh")).state is Verdict.UNKNOWN


def model(**more: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "title": "SAM",
        "url": HERE,
        "state": "CO",
        "model_version": "MobileSAM",
        "is_interactive": True,
        "error_message": None,
        **more,
    }


OTHER = model(id=2, title="GPT", url="http://other.example", model_version="gpt")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "the project has none"),
        ([OTHER, {**OTHER, "id": 3}], "none of the project's models"),
        ([OTHER], "is another back end"),
        ([model(state="DI")], "cannot reach"),
        ([model(state="ER", error_message="401 Client Error")], "BASIC_AUTH_PASS"),
        ([model(state="ER", error_message="500 Server Error")], "500 Server Error"),
        ([model(is_interactive=False)], "switch on Interactive preannotations"),
        ([OTHER, model()], "'GPT', which comes before"),
    ],
)
def test_the_editor_does_not_ask_this_back_end(models: list[Any], said: str) -> None:
    finding = connection.judge(models, "MobileSAM", HERE)
    assert finding.state is Verdict.BAD
    assert said in finding.line


@pytest.mark.parametrize(
    "models",
    [
        [model()],
        [model(url="http://10.0.0.7:9090")],
        [model(), OTHER],
        [{**OTHER, "is_interactive": False}, model(url="http://10.0.0.7:9090/")],
    ],
)
def test_the_editor_asks_this_back_end(models: list[Any]) -> None:
    assert connection.judge(models, "MobileSAM", HERE).state is Verdict.GOOD


def test_the_label_config() -> None:
    assert config.judge(BRUSH_LABELS).state is Verdict.GOOD
    assert config.judge(SHARED_LABELS).state is Verdict.GOOD
    assert "no <Image> tag" in config.judge("<View/>").line.replace("there is ", "")
    assert "not readable XML" in config.judge("<View>").line


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("/data/upload/1/a.png", "uploads"),
        ("/label-studio/data/upload/1/a.png", "Label Studio"),
        ("http://localhost:8080/data/local-files/?d=a.png", "a local folder"),
        ("/data/local-files/?d=a.png", "a local folder"),
        ("https://example.com/a.png", "the web"),
        ("s3://bucket/a.png", "s3:// storage"),
        ("azure-blob://a/b.png", "azure-blob:// storage"),
        ("data:image/png;base64,AAAA", "inline data"),
    ],
)
def test_kinds_of_storage(value: str, name: str) -> None:
    assert images.kind(value) == name


def test_one_task_of_each_kind_of_storage() -> None:
    image = label_config.parse(BRUSH_LABELS).images[0]
    values = ["/data/upload/1.png", "/data/upload/2.png", "s3://b/3.png", None, 7]
    tasks: list[dict[str, Any]] = [{"id": n, "data": {"image": v}} for n, v in enumerate(values)]
    tasks += [{"id": 8}, {"id": 9, "data": []}]
    found = images.samples(Picture(Project("3"), task, image) for task in tasks)
    assert {name: p.task_id for name, p in found.items()} == {"uploads": "0", "s3:// storage": "2"}


@pytest.mark.parametrize(
    ("width", "state"), [(400, Verdict.GOOD), (800, Verdict.BAD), (None, Verdict.GOOD)]
)
def test_the_size_in_the_browser(width: int | None, state: Verdict) -> None:
    region = {"to_name": "image", "original_width": width, "original_height": 300}
    task = {"id": 7, "annotations": [None, {"result": [region, None]}]}
    finding = images.judge_size(task, "image", "uploads", 400, 300)
    assert finding.state is state
    assert images.judge_size(task, "another", "uploads", 400, 300).state is Verdict.GOOD


BARE_RECTANGLE = """<View><Image name="i" valueList="$pages"/>
<RectangleLabels name="box" toName="i" smart="true"><Label value="Car" alias="c"/></RectangleLabels>
<BrushLabels name="m" toName="i"><Label value="Car" alias="c"/></BrushLabels></View>"""


@pytest.mark.parametrize(
    ("xml", "to_name", "labels"),
    [(BRUSH_LABELS, "image", ("Car",)), (SHARED_LABELS, "image", ("Car",))],
)
def test_the_trial_is_a_click_as_the_editor_sends_it(
    xml: str, to_name: str, labels: tuple[str, ...]
) -> None:
    results = trial_prompt.prompt(label_config.parse(xml), to_name, 400, 300)
    ((target, (prompt,)),) = from_click(results).items()
    assert (target.to_name, target.labels, target.width) == (to_name, labels, 400)
    assert (prompt.x, prompt.y, prompt.is_positive, prompt.is_rectangle) == (50, 50, True, False)


def test_the_trial_where_there_are_rectangles_only() -> None:
    results = trial_prompt.prompt(label_config.parse(BARE_RECTANGLE), "i", 400, 300, 0)
    ((target, (prompt,)),) = from_click(results).items()
    assert (target.labels, target.item_index, prompt.is_rectangle) == (("c",), 0, True)
    assert trial_prompt.prompt(label_config.parse("<View/>"), "i", 400, 300) == []


REFUSAL = RefusalRecord(1.0, "task 7", "image", "the image cannot be fetched")


@pytest.mark.parametrize(
    ("reply", "refusals", "state", "said"),
    [
        (Answer(200, {"data": {"result": [{"id": "m"}]}}), [], Verdict.GOOD, "brought a mask"),
        (Answer(200, {"data": {"result": []}}), [REFUSAL], Verdict.BAD, "cannot be fetched"),
        (Answer(200, {"data": {"result": []}}), [], Verdict.GOOD, "no object"),
        (Answer(200, {"errors": ["model is down"]}), [], Verdict.BAD, "model is down"),
        (refused(500, "oh"), [], Verdict.BAD, "500 oh"),
        (NOTHING, [], Verdict.UNKNOWN, "did not answer"),
    ],
)
def test_what_the_trial_brought(
    reply: Reply, refusals: list[RefusalRecord], state: Verdict, said: str
) -> None:
    finding = trial.judge(reply, "7", refusals)
    assert finding.state is state
    assert said in finding.line


def test_recent_errors() -> None:
    now = 10_000.0
    old = RefusalRecord(now - 3600, "task 1", "image", "long ago")
    busy = RefusalRecord(now - 120, "clicks", "busy", "too busy: more WORKERS take more at once")
    assert [f.state for f in recent_errors.judge([old], now)] == [Verdict.GOOD]
    found = recent_errors.judge([busy, old], now)
    assert [f.says for f in found] == [
        "2 min ago, clicks: too busy: more WORKERS take more at once."
    ]
    assert len(recent_errors.judge([busy] * 50, now)) < 5


def click(project: str, *, is_check: bool = False) -> ClickRecord:
    watched = WatchedClick()
    watched.is_check = is_check
    return ClickRecord.of(watched, project, "7", "MobileSAM", 0)


@pytest.mark.parametrize(
    ("clicks", "state"),
    [
        ([click("3.1")], Verdict.GOOD),
        ([click("31.1")], Verdict.UNKNOWN),
        ([click("3.1", is_check=True)], Verdict.UNKNOWN),
        ([], Verdict.UNKNOWN),
    ],
)
def test_clicks_of_annotators_arrive(clicks: list[ClickRecord], state: Verdict) -> None:
    finding = editor.judge(clicks, 3)
    assert finding.state is state
    assert ("Auto-Annotation" in finding.remedy) == (state is Verdict.UNKNOWN)


def test_a_decode_without_label_studio(services: Any) -> None:
    image = label_config.parse(BRUSH_LABELS).images[0]
    task = {"id": 7, "data": {"image": inline(picture())}}
    finding: Finding = trial.check_here(services(), Picture(Project("3"), task, image, None))
    assert finding.state is Verdict.GOOD
    assert "the model makes a mask here" in finding.says
    nowhere = {"id": 7, "data": {"image": "nowhere"}}
    finding = trial.check_here(services(), Picture(Project("3"), nowhere, image, None))
    assert finding.state is Verdict.BAD


@pytest.mark.parametrize("reply", [NOTHING, Answer(404), refused(500, "oh"), Answer(200)])
def test_an_answer_that_a_check_cannot_use_is_refused(reply: Reply) -> None:
    with pytest.raises(Refusal, match="/api/projects/9"):
        value_of(reply, "/api/projects/9")


def test_details_of_answers_are_one_line() -> None:
    assert invalid(url=["a\nb"], non_field_errors=["c"]).detail == "a b c"
    assert Answer(500, "text").detail == ""
    assert Answer(500, {"detail": None}).detail == ""
