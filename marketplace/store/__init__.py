"""Where artifacts lie: a local folder or an S3-compatible store."""

from __future__ import annotations

from marketplace.settings import FolderStore, Settings
from marketplace.store.base import ArtifactStore, Uploads
from marketplace.store.folder import FolderArtifactStore
from marketplace.store.s3 import S3ArtifactStore


def open_store(settings: Settings) -> tuple[ArtifactStore, Uploads]:
    """Return the store that the settings name, and the uploads' temporary files for it."""
    chosen = settings.artifact_store
    if isinstance(chosen, FolderStore):
        folder = chosen.path / "uploads"
        store: ArtifactStore = FolderArtifactStore(chosen.path / "files")
    else:
        folder = settings.data_dir / "uploads"
        store = S3ArtifactStore(chosen)
    return store, Uploads(folder, settings.max_artifact_bytes)
