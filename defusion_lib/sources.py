"""Find what a piece of code imports from this library, and compare code without its comments; nothing is run."""

import ast
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

PACKAGE = __name__.partition(".")[0]
FOLDER = Path(__file__).parent
LOADED = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*.py")}
STOPPING = f"{PACKAGE}.stopping"  # what stops a method changes no result


def module_file(name: str, folder: Path = FOLDER) -> Path | None:
    """Return the file of a module of the library, "defusion_lib.data.shi"; None where there is no such module."""
    path = folder.joinpath(*name.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path if path.is_file() else None


def direct_imports(source: str) -> set[str]:
    """Return the dotted names that a source imports from the library, wherever in it.

    What is imported from a module is named as if it were a module too: "defusion_lib.data.PhotoSet".
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if f"{name}.".startswith(f"{PACKAGE}.")}


def all_imports(names: Iterable[str], left_out: Iterable[str] = (), folder: Path = FOLDER) -> dict[str, str]:
    """Return {name: source} of modules and of all that they import from the library, directly or not.

    The modules of `left_out`, by their exact names, and what only these import are not among them.
    """
    sources: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = module_file(name, folder)
        if path is None or name in sources or name in left_out:
            continue
        sources[name] = path.read_text(encoding="utf-8")
        # The package itself imports nothing when it is imported.
        waiting += direct_imports(sources[name]) if name != PACKAGE else []
    return sources


def running_code(names: Iterable[str], left_out: Iterable[str] = ()) -> dict[str, str]:
    """Return `all_imports` of modules of this process, so that results can be kept under their code.

    Raises ValueError where a file was edited after this process began: it may run the old code.
    """
    sources = all_imports(names, left_out)
    for name in sources:
        path = module_file(name)
        if path is not None and LOADED.get(path) != path.stat().st_mtime_ns:
            raise ValueError(
                f"{name} was edited after this program began, so its results would be kept under code that did not "
                "make them: restart the kernel, or run the command again."
            )
    return sources


def bare_code(source: str) -> str:
    """Return a source without comments, docstrings, layout and calls of `stopping`."""
    try:
        tree = ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return source  # the lines of a lambda are no complete statement
    stopping = {alias.name for node in ast.walk(tree) if _imports_stopping(node) for alias in node.names}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            if body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                    del body[0]
            body[:] = [each for each in body if not (_imports_stopping(each) or _calls(each, stopping))]
    return ast.dump(tree)


def _imports_stopping(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom) and node.module == STOPPING


def _calls(statement: ast.stmt, functions: set[str]) -> bool:
    """Return whether a statement is a call of one of the functions, its result assigned or not."""
    call = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in functions
