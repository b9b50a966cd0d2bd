"""Files over HTTP: resumed, retried, checked."""

import email.utils
import json
import random
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3

from pipeline.sources.base import UnavailableError, exclusive, told
from read.addresses import leads_inside
from read.files import sha256_of, write_json
from read.video_files import VIDEO_SUFFIXES

TRANSIENT = {408, 425, 429, *range(500, 600)}  # statuses that a later try may not meet
LONGEST_WAIT = 300.0  # seconds that a server may ask us to wait
LEAST_SPEED = 1024.0  # bytes per second, below which a transfer counts as stalled
CHUNK = 1 << 16


class Url:
    """Videos at addresses made from a template with `{vid}`."""

    def __init__(self, template: str, retries: int, timeout: float) -> None:
        self.template = template
        self.retries = retries
        self.timeout = timeout

    def recipe(self, vid: str) -> str:
        """The video's address, without secrets."""
        return told(self._address(vid))

    def _address(self, vid: str) -> str:
        return self.template.replace("{vid}", quote(vid, safe=""))

    def fetch(self, vid: str, room: Path) -> Path:
        """Download a video."""
        url = self._address(vid)
        suffix = Path(urlsplit(url).path).suffix.lower()
        draft = room / f"video{suffix if suffix in VIDEO_SUFFIXES else '.mp4'}"
        download(url, draft, retries=self.retries, timeout=self.timeout)
        if not draft.stat().st_size or _is_page(draft):
            reason = "a web page instead of a video" if draft.stat().st_size else "an empty file"
            draft.unlink()
            raise UnavailableError(f"{url}: {reason}")
        return draft


def _is_page(path: Path) -> bool:
    """Whether a file is HTML: what servers send in place of a file when they ask for a login or a click."""
    with path.open("rb") as file:
        return file.read(256).lstrip().lower().startswith((b"<!doctype html", b"<html"))


class _Session(requests.Session):
    """Follows redirects to public places only, unless the first address is no such place itself."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self._first = first

    def get_redirect_target(self, response: requests.Response) -> str | None:
        """Where a response leads. Raises UnavailableError for a place that may not be led to."""
        target = super().get_redirect_target(response)
        if target is not None:
            there = urljoin(response.url, target)
            if urlsplit(there).scheme not in ("http", "https"):
                raise UnavailableError(f"{self._first}: leads to {there}, which is no address on the net")
            if leads_inside(there) and not leads_inside(self._first):
                raise UnavailableError(f"{self._first}: leads to {there}, on this machine or in a private net")
        return target


class _TransientError(Exception):
    """A try failed in a way that the next may not; `pause` is what the server asks for, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


def download(
    url: str, path: Path, *, sha256: str | None = None, retries: int = 5, timeout: float = 30.0, wait: float = 1.0
) -> None:
    """Download a file, whole or not at all; a file that is already there, with the right digest if one is given, stays.

    An interrupted download is gone on with, by the next try or by the next call: `.<name>.part` beside `path` holds
    what came, and `.<name>.part.json` the server's validator, so that parts of two versions are never joined. Jobs that
    want the same file wait for the one that came first.

    Args:
        url: an http or https address.
        path: where to put it.
        sha256: the expected digest.
        retries: further tries after failures that may pass: lost connections, stalls, 408, 425, 429 and 5xx.
        timeout: seconds without a byte, or at less than LEAST_SPEED, before a try counts as failed.
        wait: seconds before the second try; doubled with each further one, half to one and a half times that at random.

    Raises:
        UnavailableError: with the address and the reason.
    """
    part = path.with_name(f".{path.name}.part")
    with exclusive(part) as file:
        if not path.is_file() or sha256 not in (None, sha256_of(path)):
            try:
                _with_retries(url, part, file, retries, timeout, wait)
            except UnavailableError:
                if file.seek(0, 2) == 0:
                    _discard(part)
                raise
            file.flush()
            found = sha256_of(part)
            if sha256 not in (None, found):
                page = "a web page instead of the file; " if _is_page(part) else ""
                _discard(part)
                raise UnavailableError(f"{url}: {page}its sha256 is {found}, not {sha256}; it was deleted")
            part.replace(path)
        _discard(part)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _with_retries(url: str, part: Path, file: IO[bytes], retries: int, timeout: float, wait: float) -> None:
    for tries in range(1, retries + 2):
        try:
            _try(url, part, file, timeout)
            return
        except _TransientError as failure:
            if tries > retries:
                raise UnavailableError(f"{url}: {failure} (tried {tries} times)") from None
            if failure.pause > LONGEST_WAIT:
                raise UnavailableError(f"{url}: {failure}, and the server asks to wait {failure.pause:.0f} s") from None
            backoff = min(wait * 2 ** (tries - 1), LONGEST_WAIT) * random.uniform(0.5, 1.5)
            time.sleep(max(failure.pause, backoff))


def _try(url: str, part: Path, file: IO[bytes], timeout: float) -> None:
    """Bring the part to its full length, or raise `_TransientError` or `UnavailableError`."""
    known = _read_validator(part)
    have = file.seek(0, 2) if known else 0
    headers = {"User-Agent": "read-pipeline", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    try:
        with (
            _Session(url) as session,
            session.get(url, headers=headers, stream=True, timeout=timeout) as response,
        ):
            total = _check(response, url, known, have)
            if total is None:
                file.truncate(0)
                raise _TransientError("the file changed while it was downloaded")
            if response.status_code == 200:
                file.truncate(0)
                have = 0
                _write_validator(part, response, total)
            have += _receive(response, file, timeout)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TransientError(_reason(error, timeout)) from None
    if total >= 0 and have != total:
        raise _TransientError(f"the connection ended after {have} of {total} bytes")


def _check(response: requests.Response, url: str, known: dict, have: int) -> int | None:
    """The whole file's length by the response, -1 where it does not say, None where the part is of another version."""
    status = response.status_code
    if status == 200:
        return _length(response.headers.get("Content-Length"))
    if status == 206:
        bounds = re.fullmatch(
            r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})", response.headers.get("Content-Range", "")
        )
        same = bounds and int(bounds[1]) == have and int(bounds[2]) == known.get("bytes")
        return known["bytes"] if same and _validator(response) in ("", known["validator"]) else None
    if status == 416:
        return None
    if status in TRANSIENT:
        raise _TransientError(f"HTTP {status} {response.reason}", _retry_after(response.headers.get("Retry-After", "")))
    raise UnavailableError(f"{url}: HTTP {status} {response.reason}")


def _length(stated: str | None) -> int:
    if stated is None:
        return -1
    if not re.fullmatch(r"[0-9]{1,18}", stated):
        raise _TransientError(f"the server states a length of {stated[:40]!r}")
    return int(stated)


def _receive(response: requests.Response, file: IO[bytes], timeout: float) -> int:
    """Append the body to the part as it comes; the number of bytes."""
    received = at_mark = 0
    mark = time.monotonic()
    while chunk := response.raw.read1(CHUNK):
        file.write(chunk)
        received += len(chunk)
        elapsed = time.monotonic() - mark
        if elapsed > timeout:
            speed = (received - at_mark) / elapsed
            if speed < LEAST_SPEED:
                raise _TransientError(f"stalled at {speed:.0f} bytes per second")
            mark, at_mark = mark + elapsed, received
    return received


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return f"no answer within {timeout:g} s"
    root = error
    while root.__context__ is not None or root.__cause__ is not None:
        root = root.__cause__ or root.__context__
    return (str(root) or type(root).__name__).splitlines()[0]


def _retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for, given as a number or as a date."""
    if re.fullmatch(r"[0-9]{1,18}", value.strip()):
        return float(value)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _validator(response: requests.Response) -> str:
    """What tells this version of the file from another: a strong ETag, else the date; empty where there is neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_validator(part: Path, response: requests.Response, total: int) -> None:
    if total >= 0 and (validator := _validator(response)):
        write_json(_validator_file(part), {"validator": validator, "bytes": total})
    else:
        _validator_file(part).unlink(missing_ok=True)  # without one, a resumed part could be of two versions


def _read_validator(part: Path) -> dict:
    try:
        return json.loads(_validator_file(part).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
