"""Opens the common store that the settings name, if they name one."""

from __future__ import annotations

import hashlib
import importlib.util
import os

from sam_backend.errors import SettingsError
from sam_backend.machines.common_store import CommonStore
from sam_backend.net import urls
from sam_backend.settings import Settings


def check(settings: Settings) -> None:
    """SettingsError if the package for it is missing. The server itself may come later."""
    if settings.cache_url and importlib.util.find_spec("redis") is None:
        raise SettingsError(
            "CACHE_URL is set, but the package redis is not installed: pip install redis"
        )


def opened(settings: Settings) -> CommonStore | None:
    """The store of all machines with the same Label Studio and the same CACHE_PREFIX."""
    if settings.cache_url is None:
        return None
    check(settings)
    origin = str(urls.origin(settings.label_studio_url or ""))
    deployment = hashlib.sha256(origin.encode()).hexdigest()[:12]
    prefix = f"{settings.cache_prefix}:{deployment}"
    return CommonStore(settings.cache_url, prefix, os.environ.get("REQUESTS_CA_BUNDLE"))
