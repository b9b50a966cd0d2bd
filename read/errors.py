"""Exceptions for input that a person can mend."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from read.addresses import without_secrets


class InputError(ValueError):
    """Bad input. The message names the file, key or argument at fault, the reason, and what would be right.

    Command lines print the message without a traceback and exit with status 1. Secrets in addresses are masked.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(without_secrets(str(message)))


class NotFiniteError(InputError):
    """A loss or an output of a model is NaN or infinite, as where training diverges."""


class MissingPackageError(InputError, ModuleNotFoundError):
    """A package of an extra is not installed. The message names the extra; `name` is the module's, as Python has it."""


# The extra of this distribution that brings a package, by the name it is imported under.
EXTRAS = {
    "peft": "lora",
    **dict.fromkeys(("ffmpeg", "huggingface_hub", "imageio_ffmpeg", "open_clip", "torchvision"), "encoders"),
    **dict.fromkeys(("nltk", "rouge_score", "sacrebleu", "tokenizers", "transformers", "webvtt"), "summarization"),
    "faster_whisper": "speech",
    **dict.fromkeys(("psutil", "starlette", "uvicorn"), "app"),
    **dict.fromkeys(
        ("PIL", "dvc", "dvclive", "jinja2", "plotly", "pydantic", "requests", "skimage", "snakemake", "yaml", "yt_dlp"),
        "pipeline",
    ),
}


def missing_package(error: ModuleNotFoundError) -> str:
    """What to do about a package that is not there, in words."""
    package = (error.name or "").partition(".")[0]
    if package in EXTRAS:
        return f"the package {package} is not installed: pip install 'read-adapters[{EXTRAS[package]}]'"
    return f"the module {error.name} is not there: {error}" if package == "read" else f"needs the package {package}"


@contextmanager
def optional_imports() -> Iterator[None]:
    """Around imports of what an extra brings: where it is not installed, the extra is named.

    Raises:
        MissingPackageError: a module is not there.
    """
    try:
        yield
    except MissingPackageError:
        raise
    except ModuleNotFoundError as error:
        missing = MissingPackageError(missing_package(error))
        missing.name = error.name
        raise missing from None


def show_everything(encoding: str | None = None) -> None:
    """Let a program print any text: what the terminal's encoding lacks comes escaped, and does not end the work.

    Args:
        encoding: of stdout, where programs read it; by default that of the terminal.
    """
    for stream, wanted in ((sys.stdout, encoding), (sys.stderr, None)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=wanted, errors="backslashreplace")
