"""The environment, and the one line that a bad value is answered with."""

from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import SettingsError
from sam_backend.settings import Settings
from tests.needs import REPOSITORY

of = Settings.from_environment


def test_without_any_setting_it_works() -> None:
    settings = of({})
    assert (settings.sam_choice, settings.port, settings.log_level) == ("MobileSAM", 9090, "INFO")
    assert settings.basic_auth is None
    assert settings.label_studio_url is None


def test_an_empty_value_is_no_value() -> None:
    """It is what `docker compose` passes on for a variable that nobody set."""
    assert of({"PORT": "", "SAM_CHOICE": " ", "LABEL_STUDIO_URL": ""}) == of({})


def test_both_names_of_the_guide_are_known() -> None:
    old = of({"LABEL_STUDIO_HOST": "http://ls:8080", "LABEL_STUDIO_ACCESS_TOKEN": "t"})
    new = of({"LABEL_STUDIO_URL": "http://ls:8080/", "LABEL_STUDIO_API_KEY": "t"})
    assert old == new


def test_names_of_models_are_read_in_any_case() -> None:
    assert of({"SAM_CHOICE": "mobilesam"}).sam_choice == "MobileSAM"


def test_model_files_lie_in_the_model_folder_unless_said_otherwise() -> None:
    assert of({"MODEL_DIR": "/weights"}).mobilesam_checkpoint == Path("/weights/mobile_sam")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("THREADS", "many"),
        ("CACHE_MB", "1.5"),
        ("MAX_IMAGE_MB", "0"),
        ("MAX_IMAGE_MEGAPIXELS", "lots"),
        ("FETCH_SECONDS", "91"),  # Label Studio waits no longer than 100 for a click
        ("ALLOWED_IMAGE_HOSTS", "*"),
        ("SAM_CHOICE", "SAM9"),
        ("LOG_LEVEL", "LOUD"),
        ("LABEL_STUDIO_URL", "studio.example:8080"),
        ("LABEL_STUDIO_HOST", "ftp://studio.example"),
        ("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", "/no/such/folder"),
    ],
)
def test_a_bad_value_is_named_with_its_key(key: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        of({key: value})
    assert f"{key}={value!r}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [{"BASIC_AUTH_USER": "a"}, {"BASIC_AUTH_PASS": "b"}])
def test_half_a_password_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="needs both variables"):
        of(given)


def test_a_token_needs_to_know_whose_it_is() -> None:
    with pytest.raises(SettingsError, match="LABEL_STUDIO_API_KEY is set without LABEL_STUDIO_URL"):
        of({"LABEL_STUDIO_API_KEY": "secret"})


class Work(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_asked: set[str] = set()

    def get(self, key: str, default: object = None) -> Any:
        self.keys_asked.add(key)
        return super().get(key, default)


def test_every_setting_is_documented_and_reaches_the_container() -> None:
    environ = Work()
    Settings.from_environment(environ)
    table = (REPOSITORY / "docs" / "settings.md").read_text()
    assert {key for key in environ.keys_asked if f"`{key}`" not in table} == set()
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    # Where it listens and where its files are is the container's own affair.
    inside = {"HOST", "PORT", "MODEL_DIR", "CACHE_DIR", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"}
    inside |= {key for key in environ.keys_asked if key.endswith("_CHECKPOINT")}
    other_names = {"LABEL_STUDIO_HOST", "LABEL_STUDIO_ACCESS_TOKEN"}
    missing = {key for key in environ.keys_asked if f"  {key}: " not in compose}
    assert missing == inside | other_names


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@studio.example",
        "user:secret@studio.example",
        "http://user:secret?@studio.example",
        "http://studio.example\\@other.example",  # which could be read in two ways
    ],
)
def test_no_password_is_in_the_address_of_label_studio(url: str) -> None:
    with pytest.raises(SettingsError, match="contains a user or a password") as refused:
        Settings.from_environment({"LABEL_STUDIO_URL": url})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://studio.example/a\\b",
        "http://studio example",
        "http://studio.example\t/",
        "http://[::1",
        "http://studio.example:port",
        "http://studio.example?a=b",
        "http://studio.example/#a",
    ],
)
def test_an_address_of_label_studio_that_could_be_read_in_two_ways(url: str) -> None:
    with pytest.raises(SettingsError, match=r"LABEL_STUDIO_URL=.* is not an address like http://"):
        Settings.from_environment({"LABEL_STUDIO_URL": url})


@pytest.mark.parametrize(
    "url", ["http://label_studio:8080", "https://example.org/studio", "http://[::1]:8080"]
)
def test_addresses_of_label_studio(url: str) -> None:
    assert Settings.from_environment({"LABEL_STUDIO_URL": url + "/"}).label_studio_url == url
