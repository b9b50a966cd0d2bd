"""The encoder of params.yaml where its weights are on this machine already: nothing is ever downloaded for it.

    python -m read.studio.at_hand ENTRY OPTIONS FOLDER     makes it, in a process that reaches no network

It is the one that reads the queries and has one space for them and for pictures. One that is trained small here is none
of these: it knows the source's few words and pictures, and what it says of others is chance.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from read.encoders.base import KIND, Material, complete, joint_entry, kind_of
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.program import on_start
from read.encoders.weights import CONFIG, WEIGHTS
from read.errors import InputError, optional_imports
from read.files import digest_of, read_json, read_text, write_json
from read.plugins import ENCODERS

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
TOLD = "from.json"  # beside an encoder that was made: of which options


def extractor_at_hand(working: Path, cache: Path, device: str) -> Extractor | None:
    """An extractor of that encoder alone, as params.yaml has it; None where its weights are not here.

    Args:
        working: the checkout: its params.yaml, and `models/encoders` of an earlier run.
        cache: where one is kept that is made of weights elsewhere on this machine.
        device: where it runs.

    Raises:
        InputError: params.yaml cannot be read, or what it says of encoders and frames cannot be.
    """
    params = _params(working / "params.yaml")
    encoders = params["encoders"]
    if (entry := joint_entry(encoders)) is None:
        return None
    options = complete(entry, encoders[entry])
    folder = working / "models" / "encoders"
    if not _is_public(folder, entry, options) and (folder := _made(entry, encoders[entry], working, cache)) is None:
        return None
    settings = ExtractorSettings(params["extract"]["fps"], params["clip_len"])
    return Extractor(settings, folder, device, [entry])


def _params(path: Path) -> dict[str, Any]:
    with optional_imports():
        import yaml
    try:
        found = yaml.safe_load(read_text(path))
        return {key: found[key] for key in ("encoders", "extract", "clip_len")}
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise InputError(f"{path}: no encoders can be read here ({type(error).__name__}: {error})") from None


def _is_public(folder: Path, entry: str, options: Mapping[str, Any]) -> bool:
    """Whether an earlier run left the encoder of an entry there, made of public weights, not trained."""
    with suppress(OSError, ValueError, KeyError):
        origin = read_json(folder / "encoders.json")[entry]["pretrained"]
        wanted = options.get("pretrained", options.get("model"))
        here = all((folder / entry / name).is_file() for name in (WEIGHTS, CONFIG))
        return here and None not in (origin, wanted) and origin.partition("@")[0] == wanted.partition("@")[0]
    return False


def _made(entry: str, given: Mapping[str, Any], working: Path, cache: Path) -> Path | None:
    """The folder of an encoder made of its file or of a hub's cache; None where the weights are in neither."""
    options = complete(entry, given)
    if options.get("pretrained", options.get("model")) is None:
        return None
    folder = cache / "encoders" / digest_of([entry, {**given}])
    if not (folder / entry / TOLD).is_file():
        command = [sys.executable, "-m", "read.studio.at_hand", entry, json.dumps({**given}), str(folder.resolve())]
        paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
        process = subprocess.Popen(
            command, cwd=working, env=os.environ | OFFLINE | {"PYTHONPATH": paths}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            on_start.get()(process)
            process.wait()
        finally:
            process.kill()
    return folder if (folder / entry / TOLD).is_file() else None


def make(entry: str, given: Mapping[str, Any], folder: Path) -> None:
    """Write the encoder of an entry to a folder. Raises whatever its packages do where its weights are not here."""
    kind, options = kind_of(entry, given), complete(entry, given)
    encoder = ENCODERS.load(kind).make(options, Material(_no_footage, 0, folder, "cpu", None))
    if kind != entry:
        encoder.config[KIND] = kind
    encoder.save(folder / entry)
    write_json(folder / entry / TOLD, {**given})


def _no_footage(size: int) -> Any:
    raise InputError("nothing is trained here")


def unplug() -> None:
    """Let nothing in this process reach a network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("nothing is downloaded without being asked for")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


if __name__ == "__main__":
    unplug()
    make(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]))
