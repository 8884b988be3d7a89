"""Signatures are checked while the tests run: shapes wherever they are written, types in every function.

jaxtyping's own import hook binds the arguments of every call, also where no shape is written, checks them again with
what is returned, makes its wrapper anew whenever a function is made inside another, and reads each package that a
module imports from its source: together half of the time of the tests. Here beartype checks every function, within a
context of jaxtyping where shapes are written. Functions made inside others are checked only if they speak of shapes:
mypy has read their types.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, get_args, get_type_hints

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError, jaxtyped

DECORATOR = "__checked__"
"""What a module calls the decorator; nothing else has this name."""

_checked_types = beartype(conf=BeartypeConf(violation_type=TypeCheckError))
_shaped: dict[CodeType, bool] = {}


def check_signatures(packages: Sequence[str]) -> None:
    """From now on functions in these packages and constructors of dataclasses are checked, as they are imported."""
    sys.meta_path.insert(0, SignatureFinder(packages))


class SignatureFinder(MetaPathFinder):
    """Finds the modules whose signatures are to be checked."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = tuple(packages)
        self.insides = tuple(f"{package}." for package in packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.packages and not fullname.startswith(self.insides):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Puts the decorator above the functions and classes of a module; its compiled code is not kept in a file."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = ast.fix_missing_locations(_Decorating().visit(ast.parse(self.get_data(path), path)))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[DECORATOR] = checked
        super().exec_module(module)


class _Decorating(ast.NodeTransformer):
    """Functions are checked before their other decorators see them, dataclasses when they have their constructor."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)


def checked(made: Any) -> Any:
    """A function with its signature checked, or a class; of a dataclass the constructor is checked."""
    if inspect.isclass(made):
        if is_dataclass(made) and inspect.isfunction(vars(made).get("__init__")):
            made.__init__ = checked(made.__init__)
        return made
    nested = "<locals>" in made.__qualname__
    if nested and not _shaped.get(made.__code__, True):
        return made
    hints = {name: _meaning(hint, made.__globals__) for name, hint in made.__annotations__.items()}
    _shaped[made.__code__] = any(_speaks_of_shapes(hint) for hint in hints.values())
    if _shaped[made.__code__] and inspect.isgeneratorfunction(made):
        return jaxtyped(made, typechecker=_checked_types)  # when it is called, not when it begins to yield
    if _shaped[made.__code__]:
        return _with_shapes_checked(_with_types_checked(made, hints))
    return made if nested else _with_types_checked(made, hints)


def _with_shapes_checked(made: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose types are checked, in every call of which a name of a size stands for one number."""

    @wraps(made)
    def call(*arguments: Any, **keywords: Any) -> Any:
        with jaxtyped("context"):
            return made(*arguments, **keywords)

    return call


def _with_types_checked(made: Callable[..., Any], hints: Mapping[str, Any]) -> Callable[..., Any]:
    """A function checked by what its annotations mean; what is written there stays."""
    written = made.__annotations__
    made.__annotations__ = dict(hints)
    try:
        found = _checked_types(made)
    finally:
        made.__annotations__ = written
    found.__annotations__ = written
    return found


def _meaning(hint: Any, names: dict[str, Any]) -> Any:
    """What an annotation in quotes stands for; anything where the name is not known yet, or only to mypy."""

    def holder() -> None: ...

    holder.__annotations__ = {"return": hint}
    try:
        return get_type_hints(holder, names, include_extras=True)["return"]
    except (NameError, TypeError, AttributeError):
        return Any


def _speaks_of_shapes(hint: Any) -> bool:
    """Whether an annotation, or a part of it, is an array with its shape."""
    parts = hint if isinstance(hint, list) else get_args(hint)  # a list: the arguments of a Callable
    if parts:
        return any(_speaks_of_shapes(part) for part in parts)
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)
