"""Let torchvision's Python code import beside a CPU-only torch.

torchvision 0.28 is published for Linux as a CUDA build only. Its compiled operators do not load beside a CPU torch,
and `import torchvision` then fails while registering fake kernels for two operators that nobody declared. open_clip,
transformers and peft import torchvision, but never call these operators, so declaring their schemas is enough.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared = []  # keeps the library fragments alive for the life of the process


def declare_missing_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` where torchvision's own binary cannot be loaded."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        for binary in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(binary))
    except OSError:
        pass  # a CUDA build beside a CPU torch
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(schema)
            _declared.append(library)


class BeforeTorchvision(MetaPathFinder):
    """Finds nothing, but declares the operators when torchvision is first looked for: `import read` stays light."""

    def find_spec(self, name, path=None, target=None):
        """Return None, after declaring the operators if `name` is torchvision."""
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_missing_operators()


def install() -> None:
    """Watch for the first import of torchvision; nothing to do where it has been imported."""
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, BeforeTorchvision())
