"""Where the image of a task comes from, and what opens it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_backend.errors import Refusal
from sam_backend.images.fetching import Fetcher
from sam_backend.images.sources import Source, resolve
from sam_backend.label_studio.access import LabelStudioAccess, is_refresh_token
from sam_backend.settings import Settings
from sam_backend.shared.state import Connection
from tests.loopback import Reply, Route, Site, always, site

LS = Connection("http://studio.example:8080", "f00d")
SettingsOf = Callable[..., Settings]


@pytest.fixture
def studio() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture
def settings(settings: SettingsOf) -> SettingsOf:
    """The sites of these tests are on loopback, which is refused unless somebody allows it."""
    return lambda **environ: settings(**{"ALLOWED_IMAGE_HOSTS": "127.0.0.1"} | environ)


def fetcher(settings: Settings) -> Fetcher:
    return Fetcher(settings, LabelStudioAccess(settings))


def only_for(header: str, content: bytes) -> Callable[[str | None, bytes], Reply]:
    return lambda auth, _body: (200, {}, content) if auth == header else (401, {}, b"{}")


def jwt(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2ln"


def test_uploads_are_on_label_studio() -> None:
    source = resolve("/data/upload/6/cat.jpg", "1", LS, None)
    assert source.url == "http://studio.example:8080/data/upload/6/cat.jpg"
    assert source.label_studio == LS


def test_label_studio_may_run_below_a_prefix() -> None:
    below = Connection("https://example.org/studio", None)
    for value in ("/data/upload/1/a.jpg", "/studio/data/upload/1/a.jpg"):
        assert resolve(value, "1", below, None).url == (
            "https://example.org/studio/data/upload/1/a.jpg"
        )


@pytest.mark.parametrize("uri", ["s3://bucket/a b.jpg", "gs://b/c.png", "azure-blob://c/ü.png"])
def test_cloud_files_are_resolved_by_label_studio(uri: str) -> None:
    encoded = base64.urlsafe_b64encode(uri.encode()).decode()
    assert resolve(uri, "77", LS, None).url == f"{LS.url}/tasks/77/resolve/?fileuri={encoded}"


def test_already_resolved_links_are_taken_as_they_are() -> None:
    link = "/tasks/77/resolve/?fileuri=czM6Ly9idWNrZXQvYS5qcGc="
    assert resolve(link, "77", LS, None).url == LS.url + link


def test_the_token_is_for_label_studio_alone() -> None:
    assert resolve(LS.url + "/data/upload/1/x.jpg", "1", LS, None).label_studio == LS
    for other in (
        "https://studio.example:8080",
        "http://studio.example",
        "http://studio.example.evil:8080",
        "http://studio.example:8080@evil.example",
    ):
        assert resolve(other + "/data/upload/1/x.jpg", "1", LS, None).label_studio is None


@pytest.mark.parametrize("prefix", ["", "/studio"])
@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/6/cat.jpg",
        "/data/upload/6/100%25 a b.jpg",
        "/data/upload/6/a..b.jpg",
        "/data/local-files/?d=cats/../a.jpg",
        "/data/local-files?d=a.jpg",
        "/tasks/7/resolve/?fileuri=czM6Ly9i",
        "/tasks/7/presign/?fileuri=czM6Ly9i",
        "/projects/7/resolve/?fileuri=czM6Ly9i",
        "/storage-data/uploaded/?filepath=upload/1/a.jpg",
        "/static/samples/kittens.jpg",
    ],
)
def test_the_token_opens_what_label_studio_serves_as_files(prefix: str, path: str) -> None:
    own = Connection(LS.url + prefix, "f00d")
    for value in (path, prefix + path, own.url + path):
        assert resolve(value, "1", own, None).label_studio == own


@pytest.mark.parametrize("prefix", ["", "/studio"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/projects/1/export?exportType=JSON",
        "/api/current-user/token",
        "/user/account",
        "/admin/",
        "//api/projects/1",
        "/data/upload/",
        "/data/uploads/a.jpg",
        "/DATA/upload/a.jpg",
        "/data/upload/../../api/projects/1",
        "/data/upload/./../../api/projects/1",
        "/data/upload/%2e%2e/%2e%2e/api/projects/1",
        "/data/upload/..%2f..%2fapi/projects/1",
        "/data/upload/..%252f..%252fapi/projects/1",
        "/data/upload/%25252525252e%25252525252e/a",
        "/data/upload/..%5c..%5capi/projects/1",
        "/data/upload\\..\\..\\api",
        "/data/upload/..;/..;/api/projects/1",
        "/data/upload//api/projects/1",
        "/data/upload/1/..",
        "/tasks/7/resolve/../../../api/projects/1",
        "/tasks/7/annotations",
        "/tasks/x/resolve/?fileuri=a",
        "/api/projects/1?/data/upload/a.jpg",
        "/api/projects/1#/data/upload/a.jpg",
        "/api/projects/1;/data/upload/a.jpg",
    ],
)
def test_the_token_opens_nothing_else(
    prefix: str, path: str, studio: Site, settings: SettingsOf
) -> None:
    """An image may say any path, and the operator's token opens nearly all of them."""
    own = Connection(studio.url + prefix, "f00d")
    fetches = fetcher(settings(LABEL_STUDIO_URL=own.url, LABEL_STUDIO_API_KEY="f00d"))
    for value in (path, prefix + path, own.url + path):
        with pytest.raises(Refusal):
            fetches.fetch(resolve(value, "1", own, None))
    assert {auth for _, _, auth in studio.requests} <= {None}


def test_other_paths_on_label_studios_host_get_no_token(studio: Site, settings: SettingsOf) -> None:
    """One server may have a folder of images and Label Studio; it is judged as any other."""
    studio.routes["/photos/a.jpg"] = always(200, b"cat")
    source = resolve(studio.url + "/photos/a.jpg", "1", Connection(studio.url, "f00d"), None)
    assert fetcher(settings(LABEL_STUDIO_URL=studio.url)).fetch(source).content == b"cat"
    assert studio.requests == [("GET", "/photos/a.jpg", None)]
    nothing_allowed = settings(LABEL_STUDIO_URL=studio.url, ALLOWED_IMAGE_HOSTS="")
    with pytest.raises(Refusal, match=r"add 127\.0\.0\.1 to ALLOWED_IMAGE_HOSTS"):
        fetcher(nothing_allowed).fetch(source)


def test_a_path_where_label_studio_keeps_no_images_is_named() -> None:
    with pytest.raises(Refusal, match=r"'/api/users' is at a path where .* keeps no images"):
        resolve("/api/users", "1", LS, None)


def test_a_task_number_leads_to_no_other_path() -> None:
    with pytest.raises(Refusal, match="keeps no images"):
        resolve("s3://b/a.jpg", "../api/projects/1/export?x=", LS, None)


def test_a_redirect_to_another_path_takes_no_token_along(
    studio: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(302, Location="/api/projects/1/export")
    studio.routes["/api/projects/1/export"] = only_for("Token f00d", b"everything")
    source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
    with pytest.raises(Refusal, match="HTTP 401"):
        fetcher(settings(LABEL_STUDIO_URL=studio.url)).fetch(source)
    assert [auth for _, _, auth in studio.requests] == ["Token f00d", None]


def test_local_files_are_read_where_the_folder_is_known(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a b.jpg").write_bytes(b"cat")
    value = "/data/local-files/?d=" + quote("cats/a b.jpg")
    assert resolve(value, "1", LS, tmp_path).path == tmp_path / "cats" / "a b.jpg"
    assert resolve(value, "1", LS, None).url == LS.url + value


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for name in ("../secret.jpg", "link.jpg", str(tmp_path / "secret.jpg"), "%2e%2e/secret.jpg"):
        source = resolve(f"/data/local-files/?d={name}", "1", LS, root.resolve())
        assert source.path is None


@pytest.mark.parametrize("name", ["a%00.jpg", "a" * 5000, "loop", "%ff%fe", "", ".", "pipe"])
def test_strange_names_of_local_files_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    assert resolve(f"/data/local-files/?d={name}", "1", LS, tmp_path).path is None


def test_links_that_stay_in_the_folder_are_followed(tmp_path: Path, settings: SettingsOf) -> None:
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "a.jpg").write_bytes(b"cat")
    (tmp_path / "latest").symlink_to("2024")
    source = resolve("/data/local-files/?d=latest/a.jpg", "1", LS, tmp_path.resolve())
    assert fetcher(settings()).fetch(source).content == b"cat"


@pytest.mark.parametrize("exchanged", ["file", "folder"])
def test_a_link_that_comes_after_the_check_is_not_followed(
    tmp_path: Path, settings: SettingsOf, exchanged: str
) -> None:
    root = tmp_path / "root"
    (root / "cats").mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.jpg").write_bytes(b"secret")
    (root / "cats" / "a.jpg").write_bytes(b"cat")
    source = resolve("/data/local-files/?d=cats/a.jpg", "1", LS, root)
    assert fetcher(settings()).fetch(source).content == b"cat"
    (root / "cats" / "a.jpg").unlink()
    if exchanged == "file":
        (root / "cats" / "a.jpg").symlink_to(tmp_path / "secrets" / "a.jpg")
    else:
        (root / "cats").rmdir()
        (root / "cats").symlink_to(tmp_path / "secrets")
    with pytest.raises(Refusal, match=r"'a\.jpg' cannot be read"):
        fetcher(settings()).fetch(source)


def test_a_pipe_that_comes_after_the_check_is_not_waited_for(
    tmp_path: Path, settings: SettingsOf
) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(Refusal, match="cannot be read: it is not a file"):
        fetcher(settings()).fetch(Source("k", path=tmp_path / "a.jpg", root=tmp_path))


def test_a_local_file_over_the_limit(tmp_path: Path, settings: SettingsOf) -> None:
    (tmp_path / "a.jpg").write_bytes(bytes(2 << 20))
    with pytest.raises(Refusal, match=r"'a\.jpg' is over 1 MB \(MAX_IMAGE_MB\)"):
        fetcher(settings(MAX_IMAGE_MB="1")).fetch(Source("k", path=tmp_path / "a.jpg"))


def test_a_changed_local_file_is_another_image(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"one")
    before = resolve("/data/local-files/?d=a.jpg", "1", LS, tmp_path).key
    file.write_bytes(b"other")
    assert resolve("/data/local-files/?d=a.jpg", "1", LS, tmp_path).key != before


def test_where_label_studio_is_unknown_the_refusal_says_what_to_set() -> None:
    with pytest.raises(Refusal, match="set LABEL_STUDIO_URL"):
        resolve("/data/upload/1/a.jpg", "1", None, None)


@pytest.mark.parametrize("value", ["file:///etc/passwd", "ftp://x/y.jpg", "just text", "data:,x"])
def test_an_invalid_image_address_is_refused(value: str) -> None:
    with pytest.raises(Refusal):
        resolve(value, "1", LS, None)


@given(
    st.one_of(
        st.text(),
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["http://", "https://", "//", "s3:", "/data/local-files/?d=", "data:"]),
            st.text(alphabet="[]@:/?#%.\\\0\nab1é\ud800"),
            st.text(),
        ),
    )
)
def test_any_text_is_a_source_or_a_refusal(value: str) -> None:
    root = Path(__file__).parent
    for label_studio in (LS, None):
        try:
            source = resolve(value, "1", label_studio, root)
        except Refusal:
            continue
        assert source.path is None or source.path.is_relative_to(root)
        assert source.host is not None
        has_token = source.label_studio is not None
        assert not has_token or str(source.url).startswith(LS.url)


def test_legacy_tokens_go_along_as_they_are(studio: Site, settings: SettingsOf) -> None:
    studio.routes["/data/upload/1/a.jpg"] = only_for("Token f00d", b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"


def test_personal_access_tokens_are_exchanged_once(studio: Site, settings: SettingsOf) -> None:
    token = jwt(token_type="refresh", exp=time.time() + 3600)
    studio.routes["/api/token/refresh/"] = lambda _auth, body: (
        (200, {}, b'{"access": "abc"}')
        if json.loads(body) == {"refresh": token}
        else (401, {}, b"")
    )
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer abc", b"cat")
    source, fetches = (
        resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, token), None),
        fetcher(settings()),
    )
    assert fetches.fetch(source).content == fetches.fetch(source).content == b"cat"
    assert studio.paths().count("/api/token/refresh/") == 1


def test_an_access_token_refused_early_is_renewed(studio: Site, settings: SettingsOf) -> None:
    answers = iter([b'{"access": "old"}', b'{"access": "new"}'])
    studio.routes["/api/token/refresh/"] = lambda _auth, _body: (200, {}, next(answers))
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer new", b"cat")
    source = resolve(
        "/data/upload/1/a.jpg", "1", Connection(studio.url, jwt(token_type="refresh")), None
    )
    assert fetcher(settings()).fetch(source).content == b"cat"


@pytest.mark.parametrize("status", [401, 403])
def test_a_revoked_personal_token_is_named(studio: Site, settings: SettingsOf, status: int) -> None:
    studio.routes["/api/token/refresh/"] = always(status, b"{}")
    source = resolve(
        "/data/upload/1/a.jpg", "1", Connection(studio.url, jwt(token_type="refresh")), None
    )
    with pytest.raises(Refusal, match="expired or revoked"):
        fetcher(settings()).fetch(source)


def test_a_login_page_instead_of_the_image_means_the_token(
    studio: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(302, Location="/user/login/?next=/a.jpg")
    studio.routes["/user/login/?next=/a.jpg"] = always(200, b"<html>", Content_Type="text/html")
    source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
    with pytest.raises(Refusal, match="does not accept the token"):
        fetcher(settings()).fetch(source)


def test_a_token_does_not_follow_a_redirect_to_another_place(
    studio: Site, elsewhere: Site, settings: SettingsOf
) -> None:
    studio.routes["/data/upload/1/a.jpg"] = always(303, Location=elsewhere.url + "/signed.jpg")
    elsewhere.routes["/signed.jpg"] = always(200, b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"
    assert studio.requests[0][2] == "Token f00d"
    assert elsewhere.requests == [("GET", "/signed.jpg", None)]


def test_a_netrc_file_does_not_replace_the_token(
    studio: Site, settings: SettingsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    studio.routes["/data/upload/1/a.jpg"] = only_for("Token f00d", b"cat")
    source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
    assert fetcher(settings()).fetch(source).content == b"cat"


def test_a_missing_image_is_named_without_its_signature(
    elsewhere: Site, settings: SettingsOf
) -> None:
    source = resolve(elsewhere.url + "/gone.jpg?X-Signature=secret", "1", None, None)
    with pytest.raises(Refusal, match=r"/gone.jpg' cannot be fetched: HTTP 404") as refused:
        fetcher(settings()).fetch(source)
    assert "secret" not in str(refused.value)


def test_a_web_page_is_not_an_image(elsewhere: Site, settings: SettingsOf) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(
        200, b"<html>", Content_Type="text/html; charset=utf-8"
    )
    with pytest.raises(Refusal, match="a web page, not an image"):
        fetcher(settings()).fetch(resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None))


def test_an_answer_that_unpacks_to_more_than_the_limit(
    elsewhere: Site, settings: SettingsOf
) -> None:
    packed = gzip.compress(bytes(300 << 20))
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, packed, Content_Encoding="gzip")
    with pytest.raises(Refusal, match="over 5 MB"):
        fetcher(settings(MAX_IMAGE_MB="5")).fetch(
            resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None)
        )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (always(500, b"<html>", Content_Type="text/html"), "HTTP 500"),
        (always(502), "HTTP 502"),
        (always(200, b"<html>", Content_Type="text/html"), "does not accept the token"),
        (always(403, b"{}"), "does not accept the token"),
        (always(401, b"{}"), "does not accept the token"),
        (always(302, Location="/nowhere"), "HTTP 404"),
    ],
)
def test_a_label_studio_in_trouble_harms_one_image(
    studio: Site, settings: SettingsOf, answer: Route, message: str
) -> None:
    studio.routes["/data/upload/1/a.jpg"], studio.routes["/data/upload/1/b.jpg"] = (
        answer,
        always(200, b"cat"),
    )
    own, fetches = Connection(studio.url, "f00d"), fetcher(settings(LABEL_STUDIO_URL=studio.url))
    with pytest.raises(Refusal, match=message):
        fetches.fetch(resolve("/data/upload/1/a.jpg", "1", own, None))
    assert fetches.fetch(resolve("/data/upload/1/b.jpg", "1", own, None)).content == b"cat"


def test_a_label_studio_that_was_restarted(settings: SettingsOf) -> None:
    """Connections that were kept open to the earlier one are gone."""
    fetches = None
    with site() as studio:
        studio.routes["/data/upload/1/a.jpg"] = always(200, b"cat")
        fetches = fetcher(settings(LABEL_STUDIO_URL=studio.url))
        source = resolve("/data/upload/1/a.jpg", "1", Connection(studio.url, "f00d"), None)
        assert fetches.fetch(source).content == b"cat"
    with pytest.raises(Refusal, match="set LABEL_STUDIO_URL"):
        fetches.fetch(source)
    with site(port=int(studio.url.rsplit(":", 1)[1])) as again:
        again.routes["/data/upload/1/a.jpg"] = always(200, b"dog")
        assert fetches.fetch(source).content == b"dog"


def test_a_token_that_expires_while_it_is_used(studio: Site, settings: SettingsOf) -> None:
    studio.routes["/api/token/refresh/"] = always(200, b'{"access": "abc"}')
    studio.routes["/data/upload/1/a.jpg"] = only_for("Bearer abc", b"cat")
    own, fetches = (
        Connection(studio.url, jwt(token_type="refresh")),
        fetcher(settings(LABEL_STUDIO_URL=studio.url)),
    )
    source = resolve("/data/upload/1/a.jpg", "1", own, None)
    assert fetches.fetch(source).content == b"cat"
    studio.routes["/data/upload/1/a.jpg"] = always(401, b"{}")
    studio.routes["/api/token/refresh/"] = always(401, b"{}")
    with pytest.raises(Refusal, match="expired or revoked"):
        fetches.fetch(source)


def test_a_bucket_that_refuses_is_not_label_studio_refusing(
    studio: Site, elsewhere: Site, settings: SettingsOf
) -> None:
    """A presigned address is good for a while only."""
    studio.routes["/data/upload/1/a.jpg"] = always(303, Location=elsewhere.url + "/signed.jpg")
    elsewhere.routes["/signed.jpg"] = always(403, b"<Error/>", Content_Type="application/xml")
    own = Connection(studio.url, "f00d")
    with pytest.raises(Refusal, match="cannot be fetched: HTTP 403"):
        fetcher(settings(LABEL_STUDIO_URL=studio.url)).fetch(
            resolve("/data/upload/1/a.jpg", "1", own, None)
        )


def test_an_answer_that_breaks_off_is_refused(elsewhere: Site, settings: SettingsOf) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, b"only this", Content_Length="5000")
    with pytest.raises(Refusal, match="broke off"):
        fetcher(settings()).fetch(resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None))


def test_an_image_over_the_limit_is_not_read_to_its_end(
    elsewhere: Site, settings: SettingsOf
) -> None:
    elsewhere.routes["/data/upload/1/a.jpg"] = always(200, b"x" * (3 << 20))
    with pytest.raises(Refusal, match=r"over 1 MB \(MAX_IMAGE_MB\)"):
        fetcher(settings(MAX_IMAGE_MB="1")).fetch(
            resolve(elsewhere.url + "/data/upload/1/a.jpg", "1", None, None)
        )


def test_nobody_there(settings: SettingsOf) -> None:
    with site() as gone:
        url = gone.url
    with pytest.raises(
        Refusal, match=r"cannot be fetched \(ConnectionError\): set LABEL_STUDIO_URL"
    ):
        fetcher(settings()).fetch(
            resolve("/data/upload/1/a.jpg", "1", Connection(url, "f00d"), None)
        )
    token = jwt(token_type="refresh")
    with pytest.raises(Refusal, match="cannot be reached"):
        fetcher(settings()).fetch(
            resolve("/data/upload/1/a.jpg", "1", Connection(url, token), None)
        )


def test_settings_come_before_setup_requests(settings: SettingsOf) -> None:
    said = Connection("http://from-setup.example", "said")
    nothing = LabelStudioAccess(settings())
    assert nothing.connection(said) == said
    address = LabelStudioAccess(settings(LABEL_STUDIO_HOST="http://mine.example/"))
    assert address.connection(said) == Connection("http://mine.example", "said")
    both = LabelStudioAccess(
        settings(LABEL_STUDIO_URL="http://mine.example", LABEL_STUDIO_ACCESS_TOKEN="own"),
    )
    assert both.connection(said) == Connection("http://mine.example", "own")


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (jwt(token_type="refresh"), True),
        (jwt(token_type="access"), False),
        ("0123456789abcdef0123456789abcdef01234567", False),
        ("a.b.c", False),
        ("..", False),
    ],
)
def test_personal_tokens_are_told_from_legacy_ones(token: str, expected: bool) -> None:
    assert is_refresh_token(token) is expected


def test_inline_images_need_no_network(settings: SettingsOf) -> None:
    value = "data:image/png;base64," + base64.b64encode(b"cat").decode()
    assert fetcher(settings()).fetch(resolve(value, "1", None, None)).content == b"cat"


def test_a_file_that_went_away(settings: SettingsOf, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"'gone\.jpg' cannot be read"):
        fetcher(settings()).fetch(Source("k", path=tmp_path / "gone.jpg"))
