"""Let torchvision's Python code import beside a CPU-only torch; `make` runs this once, when it builds `.venv`.

torchvision 0.28 is published for Linux as a CUDA build only. Its compiled operators do not load beside a CPU torch,
and `import torchvision` then fails while registering fake kernels for two operators that nobody declared. open_clip,
transformers and peft import torchvision, but never call these operators, so declaring their schemas is enough.

This is a matter of the environment, so it is mended there: the script copies itself into site-packages, beside a `.pth`
file by which every interpreter of this environment watches for the first import of torchvision. Where torchvision's own
binary loads, nothing is declared.
"""

import sys
from importlib.machinery import ModuleSpec, PathFinder

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared = []  # keeps the library fragments alive for the life of the process


def declare_missing_operators(folders: list[str]) -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` where the binary in torchvision's folders cannot be loaded."""
    from pathlib import Path

    import torch

    try:
        for binary in (path for folder in folders for path in Path(folder).glob("_C*.so")):
            torch.ops.load_library(str(binary))
    except OSError:
        pass  # a CUDA build beside a CPU torch
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(schema)
            _declared.append(library)


class BeforeTorchvision:
    """Finds torchvision as Python does, and declares the operators before its code runs; to look for it is free."""

    @staticmethod
    def find_spec(name: str, path: list[str] | None = None, target: object = None) -> ModuleSpec | None:
        """As any finder of `sys.meta_path`."""
        if name != "torchvision" or (spec := PathFinder.find_spec(name, path)) is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: object) -> None:
            declare_missing_operators(spec.submodule_search_locations or [])
            run(module)

        spec.loader.exec_module = exec_module
        return spec


def install() -> None:
    """Copy this file into the environment's site-packages, and have every interpreter there import it."""
    import sysconfig
    from pathlib import Path

    folder = Path(sysconfig.get_path("purelib"))
    code = Path(__file__).read_text("utf-8")
    files = {"_fit_torchvision.py": code, "fit_torchvision.pth": "import _fit_torchvision\n"}
    for name, text in files.items():  # the module first: the other file names it
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != text:
            draft = folder / f"{name}.part"
            draft.write_text(text, "utf-8")
            draft.replace(folder / name)


if __name__ == "__main__":
    install()
else:
    sys.meta_path.insert(0, BeforeTorchvision)
