"""A quick start: what encoding never uses, but open_clip and torchvision import, takes longer than a short job.

transformers and timm are optional to open_clip: without them it has CLIP's own towers only. torchvision asks torch's
compiler something in an operator of object detectors. All three are hidden while these packages are imported, and can
be imported as ever afterwards.
"""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from read.encoders.base import kind_of
from read.errors import InputError
from read.plugins import ENCODERS

OPTIONAL = ("transformers", "timm")
COMPILER = "torch._dynamo"


def import_encoders(encoders: Mapping[str, Mapping[str, Any]]) -> None:
    """Import CLIP's packages, in a third of the time where all models are of open_clip's own making.

    Args:
        encoders: by name; what their configs say, of which the names of the kind and of the model are used.

    For a process of our own only: in somebody else's, open_clip would lack the towers of timm and transformers.
    """
    kinds = {kind_of(entry, config) for entry, config in encoders.items()}
    models = {config.get("name") or config.get("model", "") for config in encoders.values()}
    if "clip" not in kinds or any(_needs_timm(name) for name in models):
        return  # they are imported when they are needed, as a whole
    import torch  # noqa: F401 - before its compiler is hidden

    absent = dict.fromkeys(OPTIONAL) | _compiler()
    hidden = {name: module for name, module in absent.items() if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        ENCODERS.load("clip")
    except InputError:
        pass  # of another version, that does need them: imported again as a whole
    finally:
        for name in hidden:
            del sys.modules[name]


def _compiler() -> dict[str, ModuleType]:
    """What torchvision asks of torch's compiler, which is imported where the question is really put."""

    def is_compile_supported(device: str) -> bool:
        from torch._dynamo.utils import is_compile_supported

        return is_compile_supported(device)

    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    compiler.utils, utils.is_compile_supported = utils, is_compile_supported
    return {COMPILER: compiler, f"{COMPILER}.utils": utils}


def _needs_timm(model: str) -> bool:
    """Whether open_clip makes this model's towers of other packages' parts."""
    package = find_spec("open_clip")
    config = Path(package.origin).parent / "model_configs" / f"{model}.json" if package and package.origin else None
    return config is not None and config.is_file() and any(key in config.read_text() for key in ("timm_", "hf_model_"))
