"""What a request asks, and how it is refused: in sentences that the page shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from read.app.jobs import UNEXPECTED
from read.errors import InputError
from read.files import decode_json

MAX_QUERY = 400  # characters
MAX_ASKED = 4 * 1024**2  # bytes of a question, with its transcript


async def body_of(request: Request, most: int, what: str) -> bytes:
    """A request's body. Raises HTTPException where it has more than `most` bytes; `what` begins the sentence."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most:
            raise HTTPException(413, f"{what} than the {size(most)} that are taken.")
    return bytes(content)


async def asked_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        HTTPException: it is too long, or none.
    """
    content = await body_of(request, MAX_ASKED, "That is more text")
    try:
        asked = decode_json(content.decode())
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(422, "Not a JSON object.")
    return asked


def text_of(asked: Mapping[str, Any], key: str, longest: int) -> str:
    """A text of at most `longest` characters; empty where there is none.

    Raises:
        HTTPException: it is longer, no text, or has halves of characters in it, which no encoding can write.
    """
    text = asked.get(key) or ""
    if not isinstance(text, str) or len(text) > longest or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise HTTPException(422, f"The {key} has to be a text of {longest} characters at most.")
    return text


def sentence_of(asked: Mapping[str, Any]) -> str:
    """The sentence that is looked for. Raises HTTPException for none, or one that is too long."""
    if not (query := text_of(asked, "query", MAX_QUERY).strip()):
        raise HTTPException(422, "Type a sentence first: what happens in the moment that you look for?")
    return query


def file_response(path: Path, **told: Any) -> FileResponse:
    """A file as an answer; arguments as of FileResponse. Raises HTTPException where it has gone meanwhile."""
    if not path.is_file():
        raise HTTPException(404, "The file is no longer there.")
    return FileResponse(path, **told)


def refusal(status: int, sentence: str) -> JSONResponse:
    """An error as the page shows it. What is left of a file that is too large is not waited for."""
    return JSONResponse({"error": sentence}, status, headers={"Connection": "close"} if status == 413 else None)


# How both pages answer what goes wrong.
HANDLERS: dict[Any, Any] = {
    HTTPException: lambda _, error: refusal(error.status_code, error.detail),
    InputError: lambda _, error: refusal(422, str(error)),
    Exception: lambda _, error: refusal(500, UNEXPECTED),
}


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{round(count, 1):g} {unit}"
        count /= 1024
    return f"{round(count, 1):g} GiB"
