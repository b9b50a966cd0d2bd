"""Speed and memory beside what one would use instead. Each module measures one part, and prints ratios within one run.

    python -m benchmarks                      all of them, as they are without options
    python -m benchmarks.transport --help     one of them, with options

A benchmark is a module here with a `main(argv)`.
"""

import pkgutil
from importlib import import_module


def names() -> list[str]:
    """The modules that may be benchmarks."""
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]


def measure(name: str) -> None:
    """Run a benchmark without options. A module without `main` is none."""
    module = import_module(f"benchmarks.{name}")
    if hasattr(module, "main"):
        print(f"\n== {name}: {module.__doc__.splitlines()[0]}", flush=True)
        module.main([])
