"""The code of a function as text for a hash: its syntax tree without docstrings, comments, formatting and positions.

The text is the same on every machine and under every Python from 3.11 on.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

# Functions of these libraries are represented by their names.
LIBRARIES = ("pyarrow", "numpy")

# Fields of a syntax tree that do not change what code does.
_SILENT = ("ctx", "kind", "type_comment", "type_ignores")


def function_code(function: Callable[..., Any]) -> str:
    """The code of a function, with the code of every function and the value of every variable that it uses.

    Raises TypeError if it has no source file, or uses a value whose text may differ from run to run.
    """
    return repr(_of_function(function, seen=set()))


def _of_function(function: Callable[..., Any], seen: set[int]) -> object:
    function = inspect.unwrap(function)
    name = f"{function.__module__}.{function.__qualname__}"
    if function.__module__.partition(".")[0] in LIBRARIES:
        return name
    if not isinstance(function, FunctionType):
        raise TypeError(f"{name} is not a Python function: its code cannot be read")
    if id(function) in seen:
        return "again"
    seen.add(id(function))
    nodes = _nodes(function)
    around = inspect.getclosurevars(function)
    reads = {**around.globals, **around.nonlocals}
    names = sorted({node.id for root in nodes for node in ast.walk(root) if isinstance(node, ast.Name)} & reads.keys())
    code = [_text(part) for node in nodes for part in (node.args, node.body)]
    return code, [(name, _of_value(reads[name], seen)) for name in names]


def _of_value(value: object, seen: set[int]) -> object:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, (tuple, list, set, frozenset)):
        items = [_of_value(item, seen) for item in value]
        return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items
    if isinstance(value, ModuleType):
        return value.__name__
    if callable(value) and not isinstance(value, type):
        return _of_function(value, seen)
    if isinstance(value, type) or type(value).__module__.partition(".")[0] in LIBRARIES:  # a DataType, a Scalar
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no text that is the same in every run")


def _nodes(function: FunctionType) -> list[ast.FunctionDef | ast.Lambda]:
    """The function's syntax trees: one, or all lambdas that begin on the same line."""
    source = inspect.getsourcefile(function)
    kind = ast.Lambda if function.__name__ == "<lambda>" else ast.FunctionDef
    found = None
    if source is not None and Path(source).is_file():
        found = _functions(Path(source)).get((kind, function.__code__.co_firstlineno))
    if not found:
        raise TypeError(f"{function.__qualname__} has no source file, or it has changed: its code cannot be read")
    return found


@cache
def _functions(path: Path) -> Mapping[tuple[type, int], list[ast.FunctionDef | ast.Lambda]]:
    """The functions of a module by kind and first line: that of the first decorator, if there is one."""
    found = defaultdict(list)
    for node in ast.walk(_tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
            found[type(node), min(part.lineno for part in (node, *decorators))].append(node)
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _text(node: object) -> str:
    # Empty fields are left out: later versions of Python have more of them.
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _SILENT]
        return f"{type(node).__name__}({','.join(f'{name}={_text(v)}' for name, v in fields if v not in (None, []))})"
    if isinstance(node, list):
        return f"[{','.join(_text(item) for item in node if not _is_docstring(item))}]"
    return repr(node)


def _is_docstring(node: object) -> bool:
    """Whether a statement is only a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
