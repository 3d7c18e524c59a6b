"""Recognises published weights by hash. Fine-tuned weights are accepted, damaged copies are not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sam_backend.errors import SettingsError
from sam_backend.installation import DOWNLOAD


@dataclass(frozen=True)
class Published:
    """A file that download_models.sh fetches, and its name there."""

    model: str
    size: int
    sha256: str


# The same hashes as in download_models.sh, which says where they are published.
PUBLISHED = (
    Published(
        "mobile_sam",
        28_085_517,
        "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
    ),
    Published(
        "mobile_sam",
        16_501_766,
        "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
    ),
    Published(
        "mobile_sam_pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    ),
    Published(
        "sam_vit_b",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    Published(
        "sam_vit_l",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    Published(
        "sam_vit_h",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    Published(
        "sam2.1_hiera_tiny",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    Published(
        "sam2.1_hiera_small",
        184_416_285,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    Published(
        "sam2.1_hiera_base_plus",
        323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    Published(
        "sam2.1_hiera_large",
        898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, cached until the file changes, because large files take seconds."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, modified: int) -> str:  # noqa: ARG001 (they are the cache's key)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def published(path: Path) -> Published | None:
    """The published file that this is, or None for any other file.

    SettingsError for a damaged copy: a file with exactly the size of a published file but other
    bytes. The name proves nothing, because a fine-tuned checkpoint may keep it.
    """
    for known in PUBLISHED:
        if path.stat().st_size == known.size:
            if sha256(path) == known.sha256:
                return known
            raise SettingsError(
                f"{path} is damaged (its SHA-256 is not that of the published file): "
                f"delete it and run {DOWNLOAD} --model {known.model}"
            )
    return None
