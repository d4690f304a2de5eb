"""Which way imports may point, what a light import may load, and how long things may get."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "reelport"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))
LONGEST, LONGEST_OF_TESTS = 700, 400
"""The lines that a file may have."""
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")

# What each part may import, beside itself. Whatever is not named here may not be imported.
HEART = {
    "language",
    "errors",
    "wire",
    "report_details",
    "catalog",
    "killpoints",
    "wording",
    "local_path",
    "sql_quoting",
    "similar_names",
}
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "killpoints": set(),
    "language": set(),
    "wording": {"language"},
    "local_path": {"errors"},
    "sql_quoting": set(),
    "similar_names": {"catalog", "language"},
    "spreadsheet_guard": set(),
    "catalog": {"language"},
    "wire": {"catalog"},
    "report_details": {"errors", "language", "wire"},
    "query": HEART,
    "check": HEART | {"query"},
    "cells": HEART | {"query"},
    "xlsx": HEART | {"query", "cells"},
    "additivity": HEART | {"query"},
    "charts": HEART | {"query", "check", "additivity"},
    "client": HEART | {"query", "check", "cells", "xlsx", "additivity"},
    "sync": HEART | {"query", "check", "cells", "client"},
    "storage": HEART,
    "facts": HEART | {"query", "storage"},
    "engine": HEART | {"query", "check", "cells", "storage", "facts"},
    "server": HEART
    | {"query", "check", "cells", "xlsx", "additivity", "spreadsheet_guard", "charts", "storage", "facts", "engine"},
    "testing": HEART | {"query", "check", "charts", "client", "storage", "facts", "engine", "server"},
    "cli": HEART
    | {"query", "check", "cells", "xlsx", "additivity", "spreadsheet_guard", "charts", "client", "sync"}
    | {"storage", "facts", "engine", "server", "testing"},
    "__main__": {"cli"},
    "__init__": HEART | {"query", "check", "cells", "client"},
}
HEAVY = {"starlette", "graphql", "sqlalchemy", "duckdb", "pydantic", "pyarrow", "deltalake", "sqlglot"} | {
    "pandas",
    "polars",
    "keyring",
    "dlt",
}


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def trees() -> dict[Path, ast.Module]:
    """The syntax tree of each module: millions of objects that stay, among which no search finds garbage."""
    gc.disable()
    try:
        return {path: ast.parse(path.read_text()) for path in MODULES}
    finally:
        gc.freeze()
        gc.enable()


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a module, which is parsed once for all tests."""
    return trees()[path]


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module of ours that a file imports, lazy imports included."""
    return tuple(_find_imports(path))


def statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements of a tree, and nothing of their expressions, which are most of it."""
    for node in body:
        yield node
        for inner in _BODIES:
            yield from statements(getattr(node, inner, ()))


def _find_imports(path: Path) -> Iterator[str]:
    for node in statements(tree_of(path).body):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name.split(".")[0] == "reelport")
            case ast.ImportFrom(module=str(module), level=0) if module.split(".")[0] == "reelport":
                yield from (imported(module, alias.name) for alias in node.names)


def imported(module: str, name: str) -> str:
    """What `from module import name` loads: the submodule of that name, or the module itself."""
    inside = SOURCE / Path(*module.split(".")) / name
    return f"{module}.{name}" if inside.with_suffix(".py").exists() or inside.is_dir() else module


def test_imports_point_down_only() -> None:
    """A module imports only from parts below its own, and the two sides never import each other."""
    wrong = {name_of(path): found for path in MODULES if (found := set(wrong_imports(path)))}
    assert not wrong


def wrong_imports(path: Path) -> Iterator[str]:
    """The imports of a file that its part may not have."""
    part = part_of(path)
    for name in imports_of(path):
        target = name.split(".")[1] if "." in name else "__init__"
        if target != part and target not in LAYERS[part]:
            yield name


def test_no_imports_go_in_circles() -> None:
    """No module leads back to itself through what it imports."""
    refuse_circles({name_of(path): set(imports_of(path)) - {name_of(path)} for path in MODULES})


@pytest.mark.parametrize("package", [name_of(path) for path in MODULES if path.name == "__init__.py"])
def test_no_rooms_import_each_other_in_circles(package: str) -> None:
    """Of the folders and modules right in a package, none leads back to itself through what it imports."""
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        if room := room_in(package, name_of(path)):
            found = {room_in(package, name) for name in imports_of(path)}
            graph.setdefault(room, set()).update(found - {room, ""})
    refuse_circles(graph)


def room_in(package: str, module: str) -> str:
    """The folder or module right in a package by which another module is reached; empty where it isn't in there."""
    inside = module.removeprefix(f"{package}.")
    return "" if inside == module else inside.split(".")[0]


def refuse_circles(graph: dict[str, set[str]]) -> None:
    """Fail with the way that leads from something back to itself."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for target in graph.get(name, ()):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("module", ["reelport", "reelport.cli.main"])
def test_a_light_import_loads_no_library_of_the_service(module: str) -> None:
    """What a partner imports brings no web framework, GraphQL, database or engine with it."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())


def test_files_stay_short_enough_to_read() -> None:
    """No file is above 700 lines: a module is a subject, and a function is as long as its one thought."""
    assert not [name_of(path) for path in MODULES if len(path.read_text().splitlines()) > LONGEST]


def test_files_of_tests_stay_short_too() -> None:
    """No file of tests, nor of what they share, is above 400 lines."""
    assert not [str(path) for path in TESTS if len(path.read_text().splitlines()) > LONGEST_OF_TESTS]


def test_each_module_says_what_it_is_for() -> None:
    """A module opens with a sentence."""
    assert not [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))]


def test_one_function_alone_makes_the_tenant_of_every_channel() -> None:
    """It looks for the operator's right first, and one page calls it: others could show a partner everybody's rows."""
    named = {name_of(path) for path in MODULES if "EveryChannel" in path.read_text()}
    assert named == {"reelport.engine.tenant", "reelport.server.access.operator_access"}
    called = {name_of(path) for path in MODULES if "find_platform" in path.read_text()}
    assert called == {"reelport.server.access.operator_access", "reelport.server.studio.operator_numbers"}


def test_metrics_and_dimensions_are_named_in_two_places_only() -> None:
    """No logic outside the catalog and the engine's mapping names a metric or a dimension of the wire."""
    from reelport.catalog import Dimension, Metric  # noqa: PLC0415 - a test that reads sources needs no more of us

    names = set(Metric.__members__) | set(Dimension.__members__)
    # The mapping locates them; the demo is one partner's question.
    allowed = {PACKAGE / "engine" / "mapping.py", PACKAGE / "cli" / "demo.py"}
    paths = [path for path in MODULES if part_of(path) not in {"catalog", "__init__"} and path not in allowed]
    assert not {name_of(path): found for path in paths if (found := set(spelled(path, names)))}


def spelled(path: Path, names: set[str]) -> Iterator[str]:
    """Names of the wire that a file spells, as a text or as an attribute."""
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Constant(value=str(name)) if name in names:
                yield name
            case ast.Attribute(value=ast.Name(id="Metric" | "Dimension"), attr=name) if name in names:
                yield name
