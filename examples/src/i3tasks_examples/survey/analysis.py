"""What can be said about a file of Python without running it. Pure: bytes in, facts out."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_GIVEN = frozenset(dir(builtins)) | {
    # What the import system and class bodies define without being asked.
    "__annotations__", "__builtins__", "__cached__", "__class__", "__doc__", "__file__", "__loader__",
    "__module__", "__name__", "__package__", "__path__", "__qualname__", "__spec__",
}  # fmt: skip
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: its dotted name within the module, and its extent in lines, decorators left out."""

    name: str
    line: int
    line_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefinedName:
    """A name that is read and that nothing in the file defines.

    Attributes:
        line: where it is read for the first time.
        scope: the function or class that reads it, or ``"module"``.
    """

    name: str
    line: int
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a survey finds in one file.

    Attributes:
        undefined: empty when ``has_star_import``: such a file's names cannot be known from its text.
    """

    line_count: int
    class_count: int
    functions: tuple[Function, ...]
    has_star_import: bool
    undefined: tuple[UndefinedName, ...]

    @property
    def longest_function(self) -> Function | None:
        """The first of the longest; None when there are no functions."""
        return max(self.functions, key=lambda function: function.line_count, default=None)


def analyse(source: bytes, filename: str) -> Facts:
    """Look at one file.

    Args:
        source: the file's bytes; its encoding cookie is honoured.
        filename: for the traceback of what cannot be parsed.

    Raises:
        SyntaxError: it is not Python, or not of this interpreter's version.
    """
    tree = ast.parse(source, filename)
    table = symtable.symtable(source, filename, "exec")  # type: ignore[arg-type]  # takes bytes as well
    nodes = list(ast.walk(tree))
    has_star_import = any(map(_is_star_import, nodes))
    return Facts(
        line_count=len(source.splitlines()),
        class_count=sum(isinstance(node, ast.ClassDef) for node in nodes),
        functions=tuple(_functions(tree)),
        has_star_import=has_star_import,
        undefined=() if has_star_import else tuple(_undefined(table, nodes)),
    )


def _is_star_import(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and node.names[0].name == "*"


def _functions(node: ast.AST, prefix: str = "") -> Iterator[Function]:
    """All functions, outer before inner."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            name = f"{prefix}.{child.name}" if prefix else child.name
        if isinstance(child, _FUNCTIONS):
            last_line = child.end_lineno or child.lineno
            yield Function(name=name, line=child.lineno, line_count=last_line - child.lineno + 1)
        yield from _functions(child, name)


def _undefined(module: symtable.SymbolTable, nodes: Iterable[ast.AST]) -> Iterator[UndefinedName]:
    defined = _GIVEN | set(_defined(module))
    readers: dict[str, str] = {}
    for table in _tables(module):
        for symbol in table.get_symbols():
            # A local of a function called "top" says it is global too: symtable takes it for the module.
            if symbol.is_referenced() and symbol.is_global() and not symbol.is_local():
                readers.setdefault(symbol.get_name(), table.get_name() if table is not module else "module")
    lines = _first_reads(nodes)
    for name in sorted(readers.keys() - defined):
        yield UndefinedName(name=name, line=lines.get(name, 1), scope=readers[name])


def _defined(module: symtable.SymbolTable) -> Iterator[str]:
    """What the module binds itself, and what its functions bind by a ``global`` statement."""
    for table in _tables(module):
        for symbol in table.get_symbols():
            binds = symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
            if binds and (table is module or symbol.is_declared_global()):
                yield symbol.get_name()


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _first_reads(nodes: Iterable[ast.AST]) -> dict[str, int]:
    lines: dict[str, int] = {}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return lines
