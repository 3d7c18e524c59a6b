"""Puts the parts together that load images."""

from __future__ import annotations

from sam_backend.embeddings.cache import Embeddings
from sam_backend.embeddings.of_machines import MachinesEmbeddings
from sam_backend.images.download_slots import DownloadSlots
from sam_backend.images.downloads import Downloads
from sam_backend.images.encoding import PictureEncoder
from sam_backend.images.fetching import Fetcher
from sam_backend.images.loader import Images
from sam_backend.images.opened_tasks import OpenedTasks
from sam_backend.images.task_images import TaskImages
from sam_backend.images.upcoming_tasks import UpcomingTasks
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.machines.common_store import CommonStore
from sam_backend.settings import Settings
from sam_backend.shared.loading_engine import LoadingEngine


def build(
    settings: Settings,
    access: LabelStudioAccess,
    engine: LoadingEngine,
    common_store: CommonStore | None,
) -> tuple[Images, TaskImages, OpenedTasks]:
    """Images by their source, the images of tasks, and the preparation of opened tasks."""
    embeddings = Embeddings.in_folder(
        settings.cache_dir,
        settings.cache_mb << 20,
        settings.cache_disk_mb << 20,
        MachinesEmbeddings(common_store) if common_store else None,
    )
    fetcher = Fetcher(settings, access)
    downloads = Downloads(fetcher, DownloadSlots(settings.threads), embeddings)
    encoder = PictureEncoder(engine, settings.max_image_megapixels * 1_000_000)
    images = Images(embeddings, downloads, encoder)
    pictures = TaskImages(images, access, settings.local_files_root)
    upcoming = UpcomingTasks(fetcher, access, settings.prefetch_next)
    opened = OpenedTasks(pictures, images.prefetcher, upcoming)
    return images, pictures, opened
