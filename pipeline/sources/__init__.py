"""Where a dataset's videos come from. A new source: a module, a case in `make_sources`, a line in `card_file.KEYS`."""

from pathlib import Path

from pipeline.card import Card
from pipeline.params import DownloadSettings
from pipeline.sources.base import Source, UnavailableError
from read.errors import InputError

__all__ = ["Source", "UnavailableError", "make_sources", "mirror_folders"]


def make_sources(card: Card, download: DownloadSettings, folder: Path) -> list[Source]:
    """The places to ask for a video, in order: mirrors first, the card's own source last.

    `folder` is the dataset's own; what a source needs for a while lies in it as *.part, until the stage is done.
    """
    from pipeline.sources.local import Folder

    videos = card.videos
    places = mirror_folders(card, download)
    mirrors = [Folder(place, videos.extensions) for place in places]
    match videos.source:
        case "local":
            return [Folder(card.path(videos.folder), videos.extensions)]
        case "manual":
            return [*mirrors, Folder(card.path(videos.folder), videos.extensions, optional=True)]
        case "archive":
            from pipeline.sources.archive import Archive

            url, sha256, room = videos.archive.url, videos.archive.sha256, folder / "archive.part"
            return [*mirrors, Archive(url, sha256, room, places, videos.extensions, download)]
        case "montage":
            from pipeline.sources.montage import Montage

            return [Montage(videos.domain, videos.seed)]
        case "stitched":
            from pipeline.sources.stitched import Stitched

            return [Stitched(card, download, folder)]
        case "url":
            from pipeline.sources.url import Url

            return [*mirrors, Url(videos.url, download.retries, download.timeout)]
        case "youtube":
            from pipeline.sources.youtube import Youtube

            ranges = bool(videos.ranges)
            return [*mirrors, Youtube(videos.url, download.retries, download.timeout, ranges)]


def mirror_folders(card: Card, download: DownloadSettings) -> list[Path]:
    """Folders that may hold a copy of the dataset: in the mirror by the dataset's name, the mirror itself, the card's.

    Raises:
        InputError: the mirror of the params or of the card is no folder.
    """
    folders = []
    if download.mirror is not None:
        mirror = Path(download.mirror).expanduser()
        if not mirror.is_dir():
            raise InputError(f"machine.mirror: {mirror} is no folder")
        folders += [folder for folder in (mirror / card.name, mirror) if folder.is_dir()]
    if card.videos.mirror is not None:
        folders.append(card.path(card.videos.mirror))
        if not folders[-1].is_dir():
            raise InputError(f"{card.folder / 'card.yaml'}: videos.mirror: {folders[-1]} is no folder")
    return folders
