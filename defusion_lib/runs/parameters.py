"""Read a notebook's parameters cell, and check what replaces its defaults."""

import ast
import difflib
import io
import json
import math
import re
import sys
import tokenize
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from defusion_lib.freeze import freeze

MARKER = "# Parameters"
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_ALWAYS = {"seed": (0, 2**32 - 1)}


def read_parameters(cell: str) -> dict:
    """Read the names and defaults of a notebook's parameters cell, in order.

    The cell's first line is `# Parameters`, its first parameter is `profile`, and each of its statements
    gives a name a plain value: text, number, bool, None, or lists and tuples of these. Raises ValueError
    otherwise.
    """
    defaults = {}
    for statement in ast.parse(cell).body:
        if not (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            raise ValueError(
                f"The parameters cell holds `{ast.unparse(statement)}`, but each of its lines must be `name = value`."
            )
        name = statement.targets[0].id
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise ValueError(
                f"Parameter {name} is computed (`{ast.unparse(statement)}`) and would stay as it is when "
                "other parameters change: write a plain value, and compute in a later cell."
            ) from None
        if name.startswith("_") or name in defaults:
            raise ValueError(f"Parameter {name} must be named once, without a leading underscore.")
        if not _is_plain(default):
            raise ValueError(f"Parameter {name} is a {type(default).__name__}: use text, numbers, or lists of them.")
        defaults[name] = default
    if next(iter(defaults), None) != "profile":
        raise ValueError("The first parameter of a parameters cell must be `profile`.")
    return defaults


def check_parameters(defaults: Mapping, given: Mapping, limits: Mapping | None = None, where: str = "") -> dict:
    """Return all effective parameters: the defaults, replaced by what is given; lists become tuples.

    A given value has its default's type (an integer also serves as a float; a list takes as many items as it
    likes, of the type of the default's first; where the default is None, any plain value serves). `limits`
    maps a name to (lowest, highest), either of them None for no bound, or to the texts it may be; it holds
    for each item of a list, and not for None. Raises ValueError naming what was found and what is valid;
    `where` names the notebook or file in it.
    """
    limits = _ALWAYS | dict(limits or {})
    where = f" of {where}" if where else ""
    for name in given:
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1, cutoff=0.5)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise ValueError(f'"{name[:80]}" is no parameter{where}.{hint} Valid names: {", ".join(defaults)}.')
    for name in limits:
        if name not in defaults and name not in _ALWAYS:
            raise ValueError(f'Limits are set for "{name}", which is no parameter{where}.')
    effective = {}
    for name, default in defaults.items():
        value = _typed(name + where, default, given.get(name, default))
        if name in limits:
            _check_limits(name + where, value, limits[name])
        effective[name] = value
    if not isinstance(effective["profile"], str) or not _SLUG.fullmatch(effective["profile"]):
        raise ValueError(
            f"Parameter profile{where} names a folder: use lower-case letters, digits and hyphens, "
            f"not {brief(effective['profile'])}."
        )
    return effective


def _is_plain(value) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, str | bool | int | float)


def _typed(name, default, value):
    """`value` as the type of `default`, lists as tuples."""
    if default is None or value is None:
        if value is not None and not _is_plain(value):
            raise ValueError(f"Parameter {name} must be text, a number or a list of them, not {brief(value)}.")
        if value is None and default is not None:
            raise ValueError(
                f"Parameter {name} must be {_kind(default)} (default {default!r}), not None."
                + _hint(name, default, value)
            )
        return freeze(value)
    if isinstance(default, list | tuple):
        if not isinstance(value, list | tuple):
            raise ValueError(
                f"Parameter {name} must be a list (default {default!r}), not {brief(value)}."
                + _hint(name, default, value)
            )
        return tuple(_typed(f"{name}, item {i}", default[0] if default else None, v) for i, v in enumerate(value))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= sys.float_info.max else math.inf
    if type(value) is not type(default):
        raise ValueError(
            f"Parameter {name} must be {_kind(default)} (default {default!r}), not {brief(value)}."
            + _hint(name, default, value)
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Parameter {name} must be a finite number, not {value}.")
    return value


def _hint(name, default, value) -> str:
    """Where papermill or YAML may have made another type of what somebody wrote: how to write it instead."""
    name = re.split("[ ,]", name)[0]
    if value is None:
        return " YAML reads null, ~ and an empty value as None: write a value, and text in quotes."
    if isinstance(default, list | tuple):
        return f" With papermill, give a list as -y '{name}: [...]'." if isinstance(value, str) else ""
    if isinstance(default, str):
        if isinstance(value, bool):
            words = "on, yes and true" if value else "off, no and false"
            return f' YAML reads {words} as {value}: write "{"on" if value else "off"}" in quotes.'
        if isinstance(value, int | float):
            return (
                f" With papermill, give text that looks like a number with -r instead of -p: -r {name} {brief(value)} "
                "(YAML: in quotes; there, 0123 is read as 83 and 12:30 as 750)."
            )
        if isinstance(value, date):
            return f' YAML reads {value} as a date: write "{value}" in quotes.'
    if isinstance(default, int | float) and not isinstance(default, bool) and isinstance(value, str):
        if re.fullmatch(r"[+-]?\d+", value):
            return " Write it without quotes and without zeros in front, and with papermill, with -p instead of -r."
        number = re.fullmatch(r"([+-]?)(?=\.?\d)(\d*)\.?(\d*)[eE]([+-]?)(\d+)", value)
        if number and isinstance(default, float):
            sign, whole, rest, exponent_sign, exponent = number.groups()
            written = f"{sign}{whole or 0}.{rest or 0}e{exponent_sign or '+'}{exponent}"
            return f" YAML reads {value} as text: write {written}." if len(value) < 80 else ""
    return ""


def _kind(default) -> str:
    kinds = {bool: "True or False", int: "an integer", float: "a number", str: "text"}
    return kinds.get(type(default), "a list")


def brief(value) -> str:
    """Return a value as Python writes it, without its middle where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = hex(value)
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-50:]}"


def _check_limits(name, value, limit):
    if isinstance(value, tuple):
        for item in value:
            _check_limits(name, item, limit)
    elif value is None:
        return
    elif all(isinstance(bound, str) for bound in limit):
        if value not in limit:
            raise ValueError(
                f"Parameter {name} must be one of {', '.join(map(repr, limit))}, not {brief(value)}."
                + _hint(name, "", value)
            )
    elif isinstance(value, str | bool):
        raise ValueError(f"Parameter {name} must be a number, not {brief(value)}." + _hint(name, 0.0, value))
    else:
        low, high = limit
        if low is not None and value < low or high is not None and value > high:
            bounds = f"at most {high}" if low is None else f"at least {low}" if high is None else f"{low} to {high}"
            raise ValueError(f"Parameter {name} must be {bounds}, not {brief(value)}.")


def _given_parameters(namespace: Mapping, stem: str) -> tuple[dict, dict]:
    """Return the defaults of the parameters cell that ran last, and what now replaces them.

    papermill puts a cell of its own behind the parameters cell, with the same first line. It never writes
    another comment into it, whereas the notebook's own cell says what each parameter is; this tells them
    apart, even where every parameter is replaced. Names that papermill's cell sets are kept, known or not.
    """
    history = [source for source in namespace.get("In", []) if source.partition("\n")[0].rstrip() == MARKER]
    if not history:
        history = _tagged_cells(Path(f"{stem}.ipynb"))
    own = [i for i, source in enumerate(history) if _comments(source) > 1]
    if not own:
        raise ValueError(
            f"{stem} has run no parameters cell: its first line must be `{MARKER}`, and each parameter needs "
            "a comment that says what it is."
        )
    defaults = read_parameters(history[own[-1]])
    missing = [name for name in defaults if name not in namespace]
    if missing:
        raise ValueError(f"Parameter {missing[0]} of {stem} is not set: run the parameters cell again.")
    given = {name: namespace[name] for name in defaults}
    for source in history[own[-1] + 1 :]:
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                given.setdefault(name, namespace.get(name))
    return defaults, given


def _tagged_cells(notebook: Path) -> list[str]:
    """Return the parameters cells of a notebook in the current folder, where nbval runs cells without history."""
    if not notebook.is_file():
        return []
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]


def _comments(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)
