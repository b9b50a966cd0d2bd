"""Exceptions for input that a person can mend."""


class InputError(ValueError):
    """Bad input. The message names the file, key or argument at fault, the reason, and what would be right.

    Command lines print the message without a traceback and exit with status 1.
    """


class NotFiniteError(InputError):
    """A loss or an output of a model is NaN or infinite, as where training diverges."""


# The extra of this distribution that brings a package, by the name it is imported under.
EXTRAS = {
    "peft": "lora",
    **dict.fromkeys(("ffmpeg", "imageio_ffmpeg", "open_clip", "pytorchvideo", "torchvision"), "encoders"),
    **dict.fromkeys(("nltk", "rouge_score", "sacrebleu", "transformers", "webvtt"), "summarization"),
    **dict.fromkeys(("starlette", "uvicorn"), "app"),
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
