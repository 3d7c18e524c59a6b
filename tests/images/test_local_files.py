"""Images in a folder that this machine and Label Studio share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from sam_backend.errors import Refusal
from sam_backend.images.sources import Source, resolve
from sam_backend.settings import Settings
from tests.images.hosts import LS, fetcher

SettingsOf = Callable[..., Settings]


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


def test_a_file_that_went_away(settings: SettingsOf, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"'gone\.jpg' cannot be read"):
        fetcher(settings()).fetch(Source("k", path=tmp_path / "gone.jpg"))
