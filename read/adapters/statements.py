"""Statements and expressions of a forward method, followed with symbols for its tensors.

Conditions on a module's own settings are decided; of all others both branches are followed, and what a loop assigns
may be anything. Nothing is run but questions about modules, such as `hasattr`.
"""

import ast
import builtins
from collections.abc import Mapping
from types import FunctionType, MethodType
from typing import Any, Protocol

from torch import Tensor, nn

from read.adapters.symbols import UNKNOWN, UnreadableError, Value, either, tensors_of

SAME_TOKENS = ("to", "contiguous", "clone", "type_as", "float", "type")  # methods that change no token
SHAPED = ("view", "reshape", "permute", "transpose", "flatten", "unsqueeze", "squeeze", "expand", "repeat")
VIEWS = ("view", "reshape", "view_as", "reshape_as")
NUMBERS = (int, float)
ANSWERS = (isinstance, hasattr, getattr, len, callable, bool, type)  # that may be asked about a module


class Reader(Protocol):
    """What a frame asks about calls and sums."""

    def run(self, function: Any, args: list, kwargs: dict) -> Any:
        """What a Python function returns. Raises UnreadableError where that cannot be followed."""

    def call_module(self, module: nn.Module, args: list, kwargs: dict) -> Any:
        """What a module gives."""

    def add(self, left: Value, right: Value) -> Value:
        """The sum of two tensors."""


class Frame:
    """One function's variables."""

    def __init__(self, reader: Reader, names: dict[str, Any], globals_: Mapping[str, Any]) -> None:
        self.reader, self.names, self.globals = reader, names, globals_
        self.returned: list = []

    # statements

    def block(self, statements: list[ast.stmt]) -> bool:
        """Follow statements; whether what comes after them is reached."""
        return all(self.statement(statement) for statement in statements)

    def statement(self, node: ast.stmt) -> bool:
        """As `block`, for one statement."""
        match node:
            case ast.Return():
                self.returned.append(None if node.value is None else self.value(node.value))
                return False
            case ast.Raise() | ast.Continue() | ast.Break():
                return False
            case ast.If():
                return self._branch(node)
            case ast.Assign():
                value = self.value(node.value)
                for target in node.targets:
                    self._assign(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self._assign(node.target, self.value(node.value))
            case ast.AugAssign():
                self._assign(node.target, self._binary(node.op, self.value(node.target), self.value(node.value)))
            case ast.Expr():
                self.value(node.value)
            case ast.With():
                return self.block(node.body)
            case ast.For() | ast.While() | ast.Try():
                self._forget(node)
            case _:
                pass
        return True

    def _branch(self, node: ast.If) -> bool:
        test = self.value(node.test)
        if _is_known(test):
            return self.block(node.body if test else node.orelse)
        before, outcomes = dict(self.names), []
        for side in (node.body, node.orelse):
            self.names = dict(before)
            if self.block(side):
                outcomes.append(self.names)
        if not outcomes:
            return False
        first, last = outcomes[0], outcomes[-1]
        self.names = {
            name: either([outcome.get(name, UNKNOWN) for outcome in outcomes]) for name in first.keys() | last.keys()
        }
        return True

    def _forget(self, node: ast.stmt) -> None:
        """What a loop assigns may be anything after it."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self.names[part.id] = UNKNOWN

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = value
            case ast.Tuple() | ast.List():
                for i, part in enumerate(target.elts):
                    inner = part.value if isinstance(part, ast.Starred) else part
                    self._assign(inner, UNKNOWN if isinstance(part, ast.Starred) else _item(value, i))
            case ast.Subscript(value=ast.Name() as name):
                self.names[name.id] = self._op([self.names.get(name.id, UNKNOWN), value])
            case _:
                pass

    # expressions

    def value(self, node: ast.expr) -> Any:
        """What an expression gives: an object, a symbol, a tuple of these, or UNKNOWN."""
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self.names.get(node.id, self.globals.get(node.id, getattr(builtins, node.id, UNKNOWN)))
            case ast.Attribute():
                return _attribute(self.value(node.value), node.attr)
            case ast.Tuple() | ast.List():
                return tuple(self.value(part) for part in node.elts if not isinstance(part, ast.Starred))
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
            case ast.BinOp():
                return self._binary(node.op, self.value(node.left), self.value(node.right))
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp():
                return self._logic(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                if _is_known(test := self.value(node.test)):
                    return self.value(node.body if test else node.orelse)
                return either([self.value(node.body), self.value(node.orelse)])
            case _:
                return UNKNOWN

    def _subscript(self, node: ast.Subscript) -> Any:
        owner, index = self.value(node.value), node.slice
        if isinstance(owner, Value) and not isinstance(self.value(index), int):
            return Value("part", sources=(owner,), stream=owner.stream)
        if isinstance(index, ast.Slice):
            return UNKNOWN
        return _item(owner, self.value(index))

    def _binary(self, operator: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(left, tuple) and isinstance(operator, ast.Add):
            return left + (right if isinstance(right, tuple) else (UNKNOWN,))
        tensors = [value for value in (left, right) if isinstance(value, Value)]
        if len(tensors) == 2 and isinstance(operator, ast.Add):
            return self.reader.add(left, right)
        if len(tensors) == 1 and isinstance(operator, ast.Mult | ast.Div):
            (factor,) = (value for value in (left, right) if not isinstance(value, Value))
            if _is_factor(factor):
                return tensors[0]
        return self._op([left, right])

    def _unary(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if not _is_known(value):
            return self._op([value])
        if isinstance(node.op, ast.Not):
            return not value
        return -value if isinstance(node.op, ast.USub) and isinstance(value, NUMBERS) else UNKNOWN

    def _logic(self, node: ast.BoolOp) -> Any:
        decides = isinstance(node.op, ast.Or)
        values = [self.value(part) for part in node.values]
        known = [value for value in values if _is_known(value)]
        if any(bool(value) == decides for value in known):
            return decides
        return not decides if len(known) == len(values) else UNKNOWN

    def _compare(self, node: ast.Compare) -> Any:
        left, right = self.value(node.left), self.value(node.comparators[0])
        if len(node.ops) > 1 or left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if isinstance(node.ops[0], ast.Is | ast.IsNot):
            known = not any(isinstance(side, Value) and side.may_be_none for side in (left, right))
            return (left is right) == isinstance(node.ops[0], ast.Is) if known else UNKNOWN
        if not (_is_known(left) and _is_known(right)):
            return UNKNOWN
        try:
            return _COMPARED[type(node.ops[0])](left, right)
        except (KeyError, TypeError):
            return UNKNOWN

    # calls

    def _call(self, node: ast.Call) -> Any:
        args = [self.value(part) for part in node.args if not isinstance(part, ast.Starred)]
        kwargs = {item.arg: self.value(item.value) for item in node.keywords if item.arg is not None}
        if isinstance(node.func, ast.Attribute) and isinstance(owner := self.value(node.func.value), Value):
            if node.func.attr in SAME_TOKENS:
                return owner
            if node.func.attr in ("add", "add_") and args and isinstance(args[0], Value):
                return self.reader.add(owner, args[0])
            if node.func.attr in VIEWS and len(node.args) == 1 and self._is_as(node.args[0]):
                return owner
            shaped = node.func.attr in SHAPED
            return Value("part" if shaped else "op", sources=tensors_of([owner, *args]), stream=owner.stream and shaped)
        function = self.value(node.func)
        if getattr(function, "__name__", "") == "apply_chunking_to_forward":
            function, args = args[0], args[3:]
        return self._called(function, args, kwargs)

    def _is_as(self, shape: ast.expr) -> bool:
        """Whether what is viewed in this shape has the residual's, so that its tokens stand in the residual's order."""
        node = shape.value if isinstance(shape, ast.Attribute) and shape.attr == "shape" else shape
        return isinstance(value := self.value(node), Value) and value.stream

    def _called(self, function: Any, args: list, kwargs: dict) -> Any:
        given = [*args, *kwargs.values()]
        if isinstance(function, nn.Module):
            return self.reader.call_module(function, args, kwargs)
        if isinstance(function, MethodType) and isinstance(owner := function.__self__, nn.Module):
            return self._own(function.__func__, [owner, *args], kwargs)
        if any(function is answer for answer in ANSWERS):
            return _answer(function, args)
        name, home = getattr(function, "__name__", ""), getattr(function, "__module__", None) or ""
        tensors = tensors_of(given)
        if isinstance(function, FunctionType) and not home.startswith("torch"):
            return self._own(function, args, kwargs)
        if name.startswith(("dropout", "clamp")) and tensors:
            return tensors[0]
        if name == "add" and len(tensors) == 2:
            return self.reader.add(*tensors)
        if name in ("cat", "concat"):
            return Value("part", sources=tensors, stream=any(value.stream for value in tensors))
        return self._op(given)

    def _own(self, function: Any, args: list, kwargs: dict) -> Any:
        """Of a function or method that can be read, what it returns; of all others, something made of its arguments."""
        if not (tensors := tensors_of([*args, *kwargs.values()])):
            return UNKNOWN
        try:
            return self.reader.run(function, args, kwargs)
        except UnreadableError:
            return Value("op", sources=tensors)

    def _op(self, values: list) -> Any:
        tensors = tensors_of(values)
        return Value("op", sources=tensors) if tensors else UNKNOWN


_COMPARED: dict[type, Any] = {
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b, ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b, ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip


def _is_known(value: Any) -> bool:
    """Whether it is an object, not a symbol."""
    return value is not UNKNOWN and not isinstance(value, Value)


def _is_factor(value: Any) -> bool:
    """Whether it scales tokens, all of them or each of their channels, and does nothing else."""
    return isinstance(value, NUMBERS) or (isinstance(value, Tensor) and value.dim() <= 1)


def _item(owner: Any, index: Any) -> Any:
    """An element; a module's output is taken for the first of several things that it may give."""
    if isinstance(owner, Value):
        return owner if index == 0 else UNKNOWN
    if not (_is_known(owner) and _is_known(index)):
        return UNKNOWN
    try:
        return owner[index]
    except (TypeError, KeyError, IndexError, AttributeError):
        return UNKNOWN


def _attribute(owner: Any, name: str) -> Any:
    if not _is_known(owner) or name == "training":  # of both modes
        return UNKNOWN
    try:
        return getattr(owner, name)
    except Exception:  # a property of somebody's may raise anything
        return UNKNOWN


def _answer(function: Any, args: list) -> Any:
    if not all(map(_is_known, args)):
        return UNKNOWN
    try:
        return function(*args)
    except (TypeError, AttributeError):
        return UNKNOWN


def bound(arguments: ast.arguments, args: list, kwargs: dict) -> dict[str, Any]:
    """A function's arguments by name; those that are not given may be anything."""
    names = [item.arg for item in (*arguments.posonlyargs, *arguments.args)]
    optional = (*arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    values = dict.fromkeys([*names, *(item.arg for item in optional if item is not None)], UNKNOWN)
    values |= dict(zip(names, args, strict=False))
    return values | {name: value for name, value in kwargs.items() if name in values}
