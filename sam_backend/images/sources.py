"""From a value in a task's data to the source of the image: a file, an address or bytes. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sam_backend.errors import Refusal
from sam_backend.net import urls
from sam_backend.shared.projects import StudioConnection

CLOUD_SCHEMES = ("s3", "gs", "azure-blob", "azure_blob", "azure_spi", "dbfs")
LOCAL_FILES_PATH = "/data/local-files/"
_MOST_BYTES_OF_A_PATH = 4096  # on Linux
_MOST_ENCODINGS = 4
# What an address has before its host, in whatever way the address is damaged.
_USER = re.compile(r"^([^/\\]*)[/\\]+[^/\\]*@|^()[^/\\:]*:[^/\\]*@")
_SCHEME = re.compile(r"(\w[\w+.-]*:)?[/\\]*")
_COLON_OF_A_PASSWORD = re.compile(r":(?!\d{1,5}/)")  # and not of a port
_LEADS_ELSEWHERE = re.compile(r"[/\\]([/\\]|\.\.?([/\\;]|$))")

# The paths under which Label Studio serves files. The operator's token opens much more, and
# annotators choose what is in a task.
_IMAGE_PATHS = re.compile(
    r"/data/upload/.+|/data/local-files/?|/static/.+|/storage-data/uploaded/?"
    r"|/(tasks|projects)/[0-9]+/(resolve|presign)/?"
)


@dataclass(frozen=True)
class Source:
    """A file, an address (with the Label Studio whose token it needs, if any), or the bytes."""

    key: str  # names the image in caches
    path: Path | None = None
    root: Path | None = None  # the folder that contains the path
    url: str | None = None
    label_studio: StudioConnection | None = None
    content: bytes | None = None

    @property
    def host(self) -> str:
        """The server of the image. Empty for files and inline images."""
        return urlsplit(self.url).netloc.rpartition("@")[2] if self.url else ""


def resolve(
    value: str, task_id: str, label_studio: StudioConnection | None, local_files_root: Path | None
) -> Source:
    """The source of a task's image: an upload, a local file, a cloud link or a web address."""
    if value.startswith("data:"):
        return Source(key=value, content=_inline(value))
    if len(value) > urls.MOST_CHARACTERS:
        raise Refusal(
            "image",
            f"the task's image {quoted(value)} is an address of over "
            f"{urls.MOST_CHARACTERS} characters",
        )
    try:
        encoded, parts = value.encode(), urlsplit(value)
    except ValueError:  # for example, brackets without an address in them
        raise _no_address(value) from None
    if parts.path.endswith(LOCAL_FILES_PATH) and local_files_root is not None:
        path = _below(local_files_root, parse_qs(parts.query).get("d", [""])[0])
        if path is not None:
            stat = path.stat()
            key = f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
            return Source(key=key, path=path, root=local_files_root)
    if parts.scheme in ("http", "https"):
        return _at(value, value, label_studio)
    if parts.scheme in CLOUD_SCHEMES:
        uri = base64.urlsafe_b64encode(encoded).decode()
        return _inside(f"/tasks/{task_id}/resolve/?fileuri={uri}", value, label_studio)
    if value.startswith("/"):
        return _inside(value, value, label_studio)
    raise _no_address(value)


def serves(label_studio: StudioConnection, address: str) -> bool:
    """Whether this Label Studio serves files at an address, so that its token may be sent."""
    url, own = urls.parse(address), urls.parse(label_studio.url)
    if url is None or own is None or url.origin != own.origin:
        return False
    prefix, path = own.path.rstrip("/"), url.path
    if not path.startswith(prefix + "/") or not _IMAGE_PATHS.fullmatch(path[len(prefix) :]):
        return False
    # A proxy may decode the path, and `..` in it would then leave the folder.
    for _ in range(_MOST_ENCODINGS):
        path, encoded = unquote(path), path
        if path == encoded:
            return not _LEADS_ELSEWHERE.search(path)
    return False


def _at(address: str, key: str, label_studio: StudioConnection | None) -> Source:
    """The source for a web address. Only Label Studio's own paths for files get its token.

    Other addresses on its host are treated like any other host: no token, no private addresses.
    """
    url = urls.parse(address)
    if url is None:
        raise _no_address(key)
    inside = label_studio is not None and serves(label_studio, url.text)
    return Source(key=key, url=url.text, label_studio=label_studio if inside else None)


def _no_address(value: str) -> Refusal:
    return Refusal(
        "image",
        f"the task's image {quoted(value)} is neither an address (http, https, "
        "a cloud storage's) nor a path on Label Studio",
    )


def quoted(value: str) -> str:
    """A value as messages quote it: short, without a password and without a signature."""
    if value.startswith("data:"):
        return repr(value[:32] + "…")
    path = _USER.sub(r"\1//", value)
    if not path.startswith(LOCAL_FILES_PATH):
        path = _without_password(re.split("[?#]", path, maxsplit=1)[0])
    return repr(path if len(path) <= 120 else path[:117] + "…")


def _without_password(path: str) -> str:
    """Leaves out what may be a user and a password, also if they have a slash."""
    scheme = _SCHEME.match(path)
    assert scheme is not None  # noqa: S101 (it matches nothing, too)
    user, at, rest = path[scheme.end() :].rpartition("@")
    hides = at and _COLON_OF_A_PASSWORD.search(user)
    return f"{scheme[1] or ''}//{rest}" if hides else path


def _inside(path: str, value: str, label_studio: StudioConnection | None) -> Source:
    """The source for a path on Label Studio, which may start with the prefix of its address."""
    if label_studio is None:
        raise Refusal(
            "image",
            f"the image {quoted(value)} is served by Label Studio, but its address is not known: "
            "reload the project in Label Studio, or set LABEL_STUDIO_URL",
        )
    prefix = urlsplit(label_studio.url).path
    if prefix and path.startswith(prefix + "/"):
        path = path[len(prefix) :]
    url = label_studio.url + path
    if not serves(label_studio, url):
        raise Refusal(
            "image",
            f"the image {quoted(value)} is at a path where Label Studio keeps no images: "
            "if it is on another server, use its complete address",
        )
    return _at(url, url, label_studio)


def _below(root: Path, name: str) -> Path | None:
    """The file `name` below root, with links resolved. None if it is elsewhere or missing."""
    name = unquote(name)
    if len(name.encode(errors="replace")) > _MOST_BYTES_OF_A_PATH:  # each part of it is looked up
        return None
    try:
        path = (root / name.lstrip("/")).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, or a loop of links
        return None


def _inline(value: str) -> bytes:
    head, _, body = value.partition(",")
    try:
        if head.endswith(";base64"):
            return base64.b64decode(body, validate=True)
    except ValueError:
        pass
    raise Refusal("image", f"the image {quoted(value)} is not base64-encoded data")
