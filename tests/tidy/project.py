"""The project's own files, as tests of its tidiness see them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent


@cache
def tracked() -> tuple[Path, ...]:
    """Every file of the project, relative to it; not what git ignores."""
    command = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(sorted(Path(name) for name in set(listed) if name and (PROJECT / name).is_file()))


def modules(*folders: str) -> list[Path]:
    """The Python files of these folders."""
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] in folders]


def read(path: Path) -> str | None:
    """A file's text; None for one that is not text."""
    try:
        return (PROJECT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def found(mention: str) -> list[Path]:
    """The files whose path ends with the parts of `mention`."""
    parts = Path(mention).parts
    return [path for path in tracked() if path.parts[-len(parts) :] == parts]


@cache
def names(path: Path) -> frozenset[str]:
    """Every name a module defines: `f`, `Class`, `Class.method`, `CONSTANT`, `Class.field`; what a class inherits from
    another one of the module is its own, too."""
    tree = ast.parse(read(path) or "")
    found_here = set(_defined(tree.body, ""))
    for node in tree.body:
        for base in node.bases if isinstance(node, ast.ClassDef) else ():
            if isinstance(node, ast.ClassDef) and isinstance(base, ast.Name):
                inherited = (name for name in tuple(found_here) if name.startswith(f"{base.id}."))
                found_here |= {name.replace(base.id, node.name, 1) for name in inherited}
    return frozenset(found_here)


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inner):
                yield prefix + name
                yield from _defined(inner, f"{prefix}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.Assign(targets=targets):
                yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case ast.With(body=inner):
                yield from _defined(inner, prefix)
