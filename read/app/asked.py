"""What a request asks, and how it is refused: in sentences that the page shows."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from read.files import decode_json

MAX_ASKED = 4 * 1024**2  # bytes of a question, with its transcript


async def asked_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        HTTPException: it is too long, or none.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_ASKED:
            raise HTTPException(413, f"That is more text than the {size(MAX_ASKED)} that are taken.")
    try:
        asked = decode_json(content.decode())
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(422, "Not a JSON object.")
    return asked


def text_of(asked: dict[str, Any], key: str, longest: int) -> str:
    """A text of at most `longest` characters; empty where there is none.

    Raises:
        HTTPException: it is longer, no text, or has halves of characters in it, which no encoding can write.
    """
    text = asked.get(key) or ""
    if not isinstance(text, str) or len(text) > longest or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise HTTPException(422, f"The {key} has to be a text of {longest} characters at most.")
    return text


def refusal(status: int, sentence: str) -> JSONResponse:
    """An error as the page shows it. What is left of a file that is too large is not waited for."""
    return JSONResponse({"error": sentence}, status, headers={"Connection": "close"} if status == 413 else None)


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{round(count, 1):g} {unit}"
        count /= 1024
    return f"{round(count, 1):g} GiB"
