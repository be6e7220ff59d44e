"""What lies below a data root: annotation files by name, and the folders that hold videos or boxes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from henasy_stream.errors import UserError
from training.data.chunks import LAYOUTS, VideoStore

_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class DataRoot:
    """files: paths by file name, lower case.  folders: those in which annotations, videos or boxes may lie."""

    root: Path
    files: dict[str, list[Path]]
    folders: tuple[Path, ...]

    def one(self, *names: str) -> Path | None:
        """The first file with one of these names, nearest to the root."""
        found = [path for name in names for path in self.files.get(name.lower(), ())]
        return min(found, key=lambda path: (len(path.parts), str(path)), default=None)

    def store(self, videos: Sequence[str]) -> VideoStore | None:
        """The folder below the root that has the most of a dozen of these videos; None if none has any.

        Raises:
            UserError: the folder's layout contradicts itself.
        """
        some = sorted(set(videos))[:: max(1, len(set(videos)) // 12)][:12]
        anywhere = [VideoStore(root=folder, layout=LAYOUTS["whole"]) for folder in self.folders]
        counts = {store.root: sum(bool(store.chunks(video)) for video in some) for store in anywhere}
        best = max(self.folders, key=lambda folder: (counts[folder], -len(folder.parts)))
        return VideoStore.open(best, videos, report=lambda line: None) if counts[best] else None


def survey(root: Path) -> DataRoot:
    """Lists a data root, four folders deep and without looking into the folders of single videos.

    Raises:
        UserError: no such folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds annotations and videos")
    files: dict[str, list[Path]] = defaultdict(list)
    folders: list[Path] = []
    for path, names, here in os.walk(root):
        folder = Path(path)
        depth = len(folder.relative_to(root).parts)
        names[:] = sorted(name for name in names if not name.lower().endswith(".mp4") and not name.startswith("."))
        if depth >= _DEPTH:
            names.clear()
        folders.append(folder)
        for name in here:
            if not name[:-4].isdecimal():
                files[name.lower()].append(folder / name)
    return DataRoot(root=root, files=dict(files), folders=tuple(folders))


def annotation_files(folder: Path, *names: str) -> list[Path]:
    """Files by name, in this folder or below it; UserError names the first that is missing."""
    root = survey(folder)
    found: list[Path] = []
    for name in names:
        path = root.one(name)
        if path is None:
            raise UserError(f"{folder}: no {name} there or below; give the folder of the annotations")
        found.append(path)
    return found
