"""Count floors, import circles, lines, long functions and wide functions of the package.

    python benchmarks/house.py

A floor is one row of rooms in which no room imports another: the length of the longest chain of
imports between rooms. Imports that only a type checker runs do not count, as in import-linter's
contracts. Needs the extra `dev`, which brings import-linter and with it grimp.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grimp

PACKAGE = "imbalance_study"
ROOT = Path(__file__).parents[1]
LONG, WIDE = 60, 7  # lines of a function, its docstring included; parameters

Imports = dict[str, set[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Measured(NamedTuple):
    """A function with the number of its lines or parameters."""

    size: int
    name: str


def imports_of(package: str, depth: int | None = None) -> Imports:
    """Map each module to the modules of the package that it imports.

    Args:
        package: Name of an importable package.
        depth: Join modules into the part of their name up to this many dots; None for no joining.
            Imports inside a joined part are left out.
    """
    graph = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)

    def part(module: str) -> str:
        return module if depth is None else ".".join(module.split(".")[: depth + 1])

    found: Imports = {part(module): set() for module in graph.modules if module != package}
    for module in graph.modules - {package}:
        for imported in graph.find_modules_directly_imported_by(module) - {package}:
            if part(imported) != part(module):
                found[part(module)].add(part(imported))
    return found


def circles(imports: Imports) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    reached = {module: _reachable(imports, module) for module in imports}
    groups = {
        tuple(sorted(other for other in imports if other in reached[m] and m in reached[other]))
        for m in imports
        if m in reached[m]
    }
    return [list(group) for group in sorted(groups)]


def _reachable(imports: Imports, module: str) -> set[str]:
    seen: set[str] = set()
    todo = list(imports[module])
    while todo:
        other = todo.pop()
        if other not in seen:
            seen.add(other)
            todo.extend(imports[other])
    return seen


def floors(imports: Imports) -> list[list[str]]:
    """Return the modules floor by floor, those that import none of the others first.

    Raises:
        ValueError: The modules import each other in a circle.
    """
    if found := circles(imports):
        raise ValueError(f"modules import each other in a circle: {found[0]}")

    @functools.cache
    def floor(module: str) -> int:
        return max((floor(other) + 1 for other in imports[module]), default=0)

    rows: list[list[str]] = [[] for _ in range(1 + max(map(floor, imports), default=-1))]
    for module in sorted(imports):
        rows[floor(module)].append(module)
    return rows


def functions_of(folder: Path) -> Iterator[tuple[str, Function]]:
    """Yield "path:line name" and the syntax tree of each function below a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(folder.parent)}:{node.lineno} {node.name}", node


def lines_of(function: Function) -> int:
    """Return the lines from ``def`` to the end, without decorators."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters_of(function: Function) -> int:
    """Return the number of parameters, keyword-only ones included, ``self`` and ``cls`` not."""
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def larger(folder: Path, *, lines: int = LONG, parameters: int = WIDE) -> dict[str, list[Measured]]:
    """Return the functions with more lines, and those with more parameters, the largest first."""
    found: dict[str, list[Measured]] = {"lines": [], "parameters": []}
    for name, function in functions_of(folder):
        for kind, size, most in (
            ("lines", lines_of(function), lines),
            ("parameters", parameters_of(function), parameters),
        ):
            if size > most:
                found[kind].append(Measured(size, name))
    return {kind: sorted(each, reverse=True) for kind, each in found.items()}


def count_lines(folder: Path) -> tuple[int, int]:
    """Return the number of Python files below a folder and their lines."""
    counts = [len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py")]
    return len(counts), sum(counts)


def main(words: list[str]) -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(words)
    sys.path.insert(0, str(ROOT))
    rooms, modules = imports_of(PACKAGE, depth=1), imports_of(PACKAGE)
    rows = floors(rooms)
    print(f"floors of rooms: {len(rows)}")
    for number, row in enumerate(rows, start=1):
        print(f"  {number} {', '.join(name.removeprefix(f'{PACKAGE}.') for name in row)}")
    found = circles(modules)
    print(f"import circles: {len(circles(rooms))} of rooms, {len(found)} of modules")
    for group in found:
        print(f"  {', '.join(group)}")
    for folder in (ROOT / PACKAGE, ROOT / "tests", ROOT / "benchmarks"):
        files, lines = count_lines(folder)
        print(f"{folder.name}: {files} files, {lines:,} lines")
    for kind, each in larger(ROOT / PACKAGE).items():
        most = LONG if kind == "lines" else WIDE
        print(f"functions with more than {most} {kind}: {len(each)}")
        for size, name in each:
            print(f"  {size} {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
