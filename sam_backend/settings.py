"""The environment, read once and checked. A bad value stops the start with one line.

It is read by hand: pydantic-settings would add 5 packages, and its messages name fields, not
environment variables. A validator for each type of setting would remain.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sam_backend.errors import SettingsError
from sam_backend.installation import default_model_dir
from sam_backend.net import urls
from sam_backend.net.addresses import AllowedHosts

SAM_CHOICES = ("MobileSAM", "SAM", "SAM-B", "SAM-L", "SAM-H", "ONNX", "Transformers")
ENGINES = ("auto", "onnx", "openvino", "torch")
TRY_PAGES = ("local", "on", "off")  # local: for browsers on this machine
PRECISIONS = ("auto", "f32", "bf16")
# Of redis-py, behind the `?` of an address.
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_cert_reqs")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True)
class Settings:
    """All settings of the operator. Use `Settings.from_environment()`."""

    sam_choice: str
    sam_engine: str
    sam_precision: str
    device: str
    model_dir: Path
    mobilesam_checkpoint: Path
    vitb_checkpoint: Path
    vitl_checkpoint: Path
    vith_checkpoint: Path
    onnx_checkpoint: Path
    transformers_model: str
    text_model: str | None
    label_studio_url: str | None
    label_studio_token: str | None
    local_files_root: Path | None
    allowed_image_hosts: AllowedHosts
    max_image_mb: int
    max_image_megapixels: int
    fetch_seconds: int
    basic_auth: tuple[str, str] | None
    host: str
    port: int
    server_names: frozenset[str]
    workers: int
    threads: int
    drain_seconds: int
    max_body_mb: int
    cache_dir: Path
    cache_mb: int
    cache_disk_mb: int
    cache_url: str | None
    cache_prefix: str
    prefetch_next: int
    proposals: bool
    learn: bool
    polygon_tolerance: float
    try_page: str
    log_level: str
    click_thumbnails: bool

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        env = _Environment(os.environ if environ is None else environ)
        model_dir = env.path("MODEL_DIR", default_model_dir())
        url = env.url("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")
        token = env.text("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN")
        if token and not url:
            raise SettingsError(
                "LABEL_STUDIO_API_KEY is set without LABEL_STUDIO_URL: "
                "say which Label Studio the token belongs to"
            )
        cache_url = env.redis("CACHE_URL")
        if cache_url and not url:
            raise SettingsError(
                "CACHE_URL is set without LABEL_STUDIO_URL: machines share neither the address of "
                "Label Studio nor its token, so set both on each of them"
            )
        return cls(
            sam_choice=env.choice("SAM_CHOICE", "MobileSAM", SAM_CHOICES),
            sam_engine=env.choice("SAM_ENGINE", "auto", ENGINES),
            sam_precision=env.choice("SAM_PRECISION", "auto", PRECISIONS),
            device=env.device("DEVICE"),
            model_dir=model_dir,
            mobilesam_checkpoint=env.path("MOBILESAM_CHECKPOINT", model_dir / "mobile_sam"),
            vitb_checkpoint=env.path("VITB_CHECKPOINT", model_dir / "sam_vit_b_01ec64.pth"),
            vitl_checkpoint=env.path("VITL_CHECKPOINT", model_dir / "sam_vit_l_0b3195.pth"),
            vith_checkpoint=env.path("VITH_CHECKPOINT", model_dir / "sam_vit_h_4b8939.pth"),
            onnx_checkpoint=env.path("ONNX_CHECKPOINT", model_dir / "onnx"),
            transformers_model=env.text("TRANSFORMERS_MODEL") or "facebook/sam2.1-hiera-tiny",
            text_model=env.text("SAM_TEXT_MODEL"),
            label_studio_url=url,
            label_studio_token=token,
            local_files_root=env.directory("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"),
            allowed_image_hosts=env.hosts("ALLOWED_IMAGE_HOSTS"),
            max_image_mb=env.integer("MAX_IMAGE_MB", 200, 1, 10_000),
            max_image_megapixels=env.integer("MAX_IMAGE_MEGAPIXELS", 200, 1, 2_000),
            fetch_seconds=env.integer("FETCH_SECONDS", 60, 1, 90),
            basic_auth=env.credentials("BASIC_AUTH_USER", "BASIC_AUTH_PASS"),
            host=env.text("HOST") or "0.0.0.0",  # noqa: S104 (Label Studio may run in a container)
            port=env.integer("PORT", 9090, 1, 65535),
            server_names=env.names("SERVER_NAMES"),
            workers=env.integer("WORKERS", 1, 1, 64),
            threads=env.integer("THREADS", 8, 1, 256),
            drain_seconds=env.integer("DRAIN_SECONDS", 0, 0, 300),
            max_body_mb=env.integer("MAX_BODY_MB", 512, 1, 16_384),
            cache_dir=env.path("CACHE_DIR", model_dir / "cache"),
            cache_mb=env.integer("CACHE_MB", 512, 16, 1_000_000),
            cache_disk_mb=env.integer("CACHE_DISK_MB", 4096, 0, 100_000_000),
            cache_url=cache_url,
            cache_prefix=env.text("CACHE_PREFIX") or "sam",
            prefetch_next=env.integer("PREFETCH_NEXT", 0, 0, 16),
            proposals=env.choice("PROPOSALS", "off", ("off", "on")) == "on",
            learn=env.choice("LEARN", "on", ("off", "on")) == "on",
            polygon_tolerance=env.number("POLYGON_TOLERANCE", 1.0, 0, 100),
            try_page=env.choice("TRY_PAGE", "local", TRY_PAGES),
            log_level=env.choice("LOG_LEVEL", "INFO", LOG_LEVELS),
            click_thumbnails=env.choice("CLICK_THUMBNAILS", "off", ("off", "on")) == "on",
        )


class _Environment:
    """Typed access to environment variables. Of several names, the first one that is set counts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, *keys: str) -> str | None:
        # `docker compose` passes an empty value for a variable that is not set.
        return next((value for key in keys if (value := self._environ.get(key, "").strip())), None)

    def names(self, key: str) -> frozenset[str]:
        """A list of host names with commas, in lower case."""
        parts = (part.strip().lower().rstrip(".") for part in (self.text(key) or "").split(","))
        found = frozenset(filter(None, parts))
        for name in found:
            if not _HOST_NAME.fullmatch(name):
                raise SettingsError(
                    f"{key}: {name!r} is not the name of a host (without a scheme or port)"
                )
        return found

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        value = self.text(key)
        if value is None:
            return default
        if not value.isdecimal() or not least <= int(value) <= most:
            raise SettingsError(f"{key}={value!r} is not a whole number from {least} to {most}")
        return int(value)

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self.text(key)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise SettingsError(f"{key}={value!r} is not a number from {least:g} to {most:g}")
        return number

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value is None:
            return default
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise SettingsError(f"{key}={value!r} is not one of {', '.join(choices)}")

    def device(self, key: str) -> str:
        value = (self.text(key) or "auto").lower()
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
            raise SettingsError(f"{key}={value!r} is not one of auto, cpu, cuda, cuda:N, mps")
        return value

    def path(self, key: str, default: Path) -> Path:
        value = self.text(key)
        return default if value is None else Path(value).expanduser()

    def directory(self, key: str) -> Path | None:
        value = self.text(key)
        if value is None:
            return None
        path = Path(value).expanduser()
        if not path.is_dir():
            raise SettingsError(f"{key}={value!r} is not a folder")
        return path.resolve()

    def url(self, *keys: str) -> str | None:
        for key in keys:
            value = self.text(key)
            if value is None:
                continue
            if "@" in value:  # the status page and the lines below show the address
                raise SettingsError(
                    f"{key} contains a user or a password: leave them out, because a token in "
                    "LABEL_STUDIO_API_KEY is enough"
                )
            if not value.lower().startswith(("http://", "https://")):
                raise SettingsError(f"{key}={value!r} does not start with http:// or https://")
            if urls.parse(value) is None or any(sign in value for sign in "?#"):
                raise SettingsError(f"{key}={value!r} is not an address like http://localhost:8080")
            return value.rstrip("/")
        return None

    def redis(self, key: str) -> str | None:
        """The address of a Redis server. No message quotes it: it may hold a password."""
        value = self.text(key)
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise SettingsError(f"{key} is not an address like redis://:password@host:6379/0")
        if not set(parse_qs(parts.query, keep_blank_values=True)) <= set(TLS_OPTIONS):
            raise SettingsError(f"{key} can have these options: {', '.join(TLS_OPTIONS)}")
        return value

    def hosts(self, key: str) -> AllowedHosts:
        try:
            return AllowedHosts.parse(self.text(key) or "")
        except ValueError as error:
            raise SettingsError(f"{key}={self.text(key)!r}: {error}") from None

    def credentials(self, user_key: str, password_key: str) -> tuple[str, str] | None:
        user, password = self.text(user_key), self.text(password_key)
        if user is None and password is None:
            return None
        if user is None or password is None:
            missing = user_key if user is None else password_key
            raise SettingsError(f"{missing} is not set: Basic authentication needs both variables")
        return user, password
