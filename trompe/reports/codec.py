"""Reports as JSON: a versioned schema, read back to an equal report.

Every dataclass is an object of its fields; a block carries its ``kind``; an image is
``{"png": base64}``; a number that JSON lacks is ``{"float": "inf"}``. Reading checks every value
against the dataclass it becomes, so a damaged or foreign file gives one sentence that says where.
"""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from trompe.core.errors import UserError
from trompe.reports.document import Block, Report
from trompe.reports.images import png, read_png

__all__ = ["SCHEMA", "from_json", "to_json"]

SCHEMA = 1
_BLOCKS = {kind.__name__.lower(): kind for kind in get_args(Block)}


def to_json(report: Report) -> str:
    """The report as JSON text; ``from_json`` gives an equal report back."""
    document = {"schema": SCHEMA, **_encode(report)}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Report:
    """The report in a JSON text.

    Raises:
        UserError: where the text is not JSON, is of another schema, or lacks or misspells a field.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"this is not a report: its JSON cannot be read ({error})") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise UserError("this is not a report: it has no schema; give a report.json of trompe")
    schema = document.pop("schema")
    if schema != SCHEMA:
        raise UserError(
            f"this report has schema {schema!r} and this version of trompe reads {SCHEMA}; "
            "write the report again with this version"
        )
    report = _decode(document, Report, "report")
    if not isinstance(report, Report):
        raise TypeError("the schema of a report is not a report")
    return report


def _encode(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__.lower()
        tag = {"kind": kind} if kind in _BLOCKS else {}
        return tag | {f.name: _encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return {"png": png(value)}
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    return value


def _decode(value: Any, hint: Any, where: str) -> Any:
    """The Python value of type ``hint`` that the JSON value stands for."""
    if is_dataclass(hint):
        return _record(value, hint, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return _sequence(value, arguments, where)
    if origin is dict:
        _expect(isinstance(value, dict), where, "an object")
        return {key: _decode(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        _expect(value in arguments, where, f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (Union, types.UnionType):
        return _choice(value, arguments, where)
    if origin is np.ndarray:
        return _image(value, where)
    return _scalar(value, hint, where)


def _expect(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise UserError(f"this is not a report: {where} is not {what}")


def _record(value: Any, kind: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "an object")
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    for name in value:
        _expect(name in known or name == "kind", f"{where}.{name}", "a field of this schema")
    for name, f in known.items():
        optional = f.default is not MISSING or f.default_factory is not MISSING
        _expect(name in value or optional, f"{where}.{name}", "there")
    items = {
        name: _decode(value[name], hints[name], f"{where}.{name}")
        for name in known
        if name in value
    }
    try:
        return kind(**items)
    except ValueError as error:
        raise UserError(f"this is not a report: in {where}, {error}") from error


def _sequence(value: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    _expect(isinstance(value, list), where, "a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    _expect(len(value) == len(arguments), where, f"a list of {len(arguments)}")
    pairs = zip(value, arguments, strict=True)
    return tuple(_decode(item, hint, f"{where}[{i}]") for i, (item, hint) in enumerate(pairs))


def _choice(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    if all(is_dataclass(option) for option in options) and len(options) > 1:
        kind = value.get("kind") if isinstance(value, dict) else None
        _expect(kind in _BLOCKS, where, f"a block of kind {', '.join(_BLOCKS)}")
        return _record(value, _BLOCKS[str(kind)], where)
    if len(options) == 1:
        return _decode(value, options[0], where)
    if isinstance(value, dict):
        return _scalar(value, float, where)
    _expect(isinstance(value, options), where, "a plain value")
    return value


def _image(value: Any, where: str) -> Any:
    _expect(isinstance(value, dict) and isinstance(value.get("png"), str), where, "an image")
    try:
        return read_png(value["png"])
    except ValueError as error:
        raise UserError(f"this is not a report: {where}: {error}") from error


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is float:
        special = value.get("float") if isinstance(value, dict) else None
        if special is not None:
            _expect(special in ("inf", "-inf", "nan"), where, "a number")
            return float(special)
        _expect(isinstance(value, int | float) and not isinstance(value, bool), where, "a number")
        return float(value)
    wrong = not isinstance(value, hint) or (hint is int and isinstance(value, bool))
    _expect(not wrong, where, f"of type {hint.__name__}")
    return value
