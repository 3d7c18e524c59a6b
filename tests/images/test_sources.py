"""What the address of an image means, and which of them open with the token."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_backend.errors import Refusal
from sam_backend.images.sources import quoted, resolve
from sam_backend.settings import Settings
from sam_backend.shared.projects import StudioConnection
from tests.images.hosts import LS, fetcher
from tests.loopback import Site, always

SettingsOf = Callable[..., Settings]


def test_uploads_are_on_label_studio() -> None:
    source = resolve("/data/upload/6/cat.jpg", "1", LS, None)
    assert source.url == "http://studio.example:8080/data/upload/6/cat.jpg"
    assert source.label_studio == LS


def test_label_studio_may_run_below_a_prefix() -> None:
    below = StudioConnection("https://example.org/studio", None)
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
    own = StudioConnection(LS.url + prefix, "f00d")
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
    own = StudioConnection(studio.url + prefix, "f00d")
    fetches = fetcher(settings(LABEL_STUDIO_URL=own.url, LABEL_STUDIO_API_KEY="f00d"))
    for value in (path, prefix + path, own.url + path):
        with pytest.raises(Refusal):
            fetches.fetch(resolve(value, "1", own, None))
    assert {auth for _, _, auth in studio.requests} <= {None}


def test_other_paths_on_label_studios_host_get_no_token(studio: Site, settings: SettingsOf) -> None:
    """One server may have a folder of images and Label Studio; it is judged as any other."""
    studio.routes["/photos/a.jpg"] = always(200, b"cat")
    source = resolve(studio.url + "/photos/a.jpg", "1", StudioConnection(studio.url, "f00d"), None)
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


@pytest.mark.parametrize(
    "value",
    [
        "  http://ann:S3cret@b.example/a.png",
        "see http://ann:S3cret@b.example/a.png",
        "azure-blob://ann:S3cret@b/a.png",
        "http:ann:S3cret@b.example/a.png",
        "\\\\ann:S3cret@b.example\\a.png",
        "http//ann:S3cret@b.example/a.png",
        "s3//ann:x/S3cret@b/a.png",
        "http:/ /ann:S3cret@b.example/a.png",
        "a/b/ann:S3cret@b.example/a.png",
    ],
)
def test_a_refusal_quotes_no_password_however_the_address_is_damaged(value: str) -> None:
    with pytest.raises(Refusal) as refused:
        resolve(value, "1", None, None)
    assert "a.png" in str(refused.value)
    assert "S3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "quote"),
    [
        ("http://ann:S3c/ret@b.example/a.png", "http://b.example/a.png"),
        ("http://http//ann:S3cret@b.example/a.png", "http://b.example/a.png"),
        ("s3://AK:ab/cd@bucket/a.png", "s3://bucket/a.png"),
        ("http://token@b.example/a.png", "http://b.example/a.png"),
        ("http://b.example/photo@2x.png", "http://b.example/photo@2x.png"),
        ("http://b.example:8080/photo@2x.png", "http://b.example:8080/photo@2x.png"),
        ("/data/upload/1/photo@2x.png?u:pw@x", "/data/upload/1/photo@2x.png"),
    ],
)
def test_a_quote_has_the_address_without_a_password(value: str, quote: str) -> None:
    assert quoted(value) == repr(quote)


def test_inline_images_need_no_network(settings: SettingsOf) -> None:
    value = "data:image/png;base64," + base64.b64encode(b"cat").decode()
    assert fetcher(settings()).fetch(resolve(value, "1", None, None)).content == b"cat"
