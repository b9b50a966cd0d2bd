"""YAML that people write, read with the limits that the format lacks."""

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from read.errors import InputError
from read.files import read_text

LARGEST = 100_000  # values in a file, those that aliases repeat counted each time


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's own loaders drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        if twice := [key for key, _ in node.value if isinstance(key, yaml.ScalarNode) and counts[key.value] > 1]:
            raise InputError(f"key {twice[1].value!r} stands twice, again on line {twice[1].start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> Any:
    """The value in a YAML file.

    Raises:
        InputError: there is no such file, or it is not YAML, is nested too deeply, has a key twice, a number of
            thousands of digits, or aliases that fill the memory. The message names the file.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > LARGEST:
            raise InputError(f"holds more than {LARGEST} values, those that aliases repeat counted each time")
        return loader.construct_document(node)
    except RecursionError:
        raise InputError(f"{path}: not valid YAML: nested too deeply, or in itself by an alias") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases followed."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = LARGEST + 1  # until it is known: a node inside itself has no end
        inner = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(node)]
