"""Large files that stand for many: from a mirror, or from their address, pinned by a digest where one is known."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.card import Card
from pipeline.params import DownloadSettings
from pipeline.sources.base import UnavailableError
from pipeline.sources.url import download
from read.addresses import without_secrets
from read.files import sha256_of


def file_name(url: str) -> str:
    """The name of a file at its address, by which mirrors have it too."""
    return Path(unquote(urlsplit(url).path)).name or "download"


def fetch_pinned(
    url: str, sha256: str | None, folder: Path, mirrors: Sequence[Path], settings: DownloadSettings
) -> Path:
    """The file itself in the first mirror that has it, which is not to be changed; else a download into `folder`.

    Raises:
        UnavailableError: with what is wrong at each of these places.
    """
    reasons = []
    for mirror in mirrors:
        copy = mirror / file_name(url)
        if copy.is_file():
            if sha256 in (None, sha256_of(copy)):
                return copy
            reasons.append(f"{copy} has another sha256")
    path = folder / file_name(url)
    try:
        download(url, path, sha256=sha256, retries=settings.retries, timeout=settings.timeout)
    except UnavailableError as reason:
        raise UnavailableError("; ".join([*reasons, str(reason)])) from None
    return path


def unpinned(card: Card) -> list[str]:
    """What of a dataset is downloaded and taken as it comes, since the card has no digest of it."""
    videos, features = card.videos, card.features
    found = []
    if videos.sha256 is None and videos.source in ("url", "youtube"):
        found.append("videos, one by one: no table of digests (videos.sha256)")
    if videos.source == "stitched" and videos.url is not None:
        found.append("clips, one by one; pieces.jsonl tells the digests of what came")
    if videos.sha256 is None and videos.source == "archive" and videos.archive.sha256 is None:
        found.append(f"{without_secrets(videos.archive.url)}: no digest (videos.archive.sha256)")
    if features is not None and features.url is not None and features.sha256 is None:
        found.append(f"{without_secrets(features.url)}: no digest (features.sha256)")
    return found
