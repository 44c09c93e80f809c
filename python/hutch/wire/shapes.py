"""Frozen shapes from untrusted input: a query string or a JSON body into a `msgspec.Struct`.

Belongs here: the one parser of queries and the one parser of bodies, both driven by the
field types of the struct, so that a new endpoint writes a type and no parsing.
Banned here: knowledge of any single endpoint.

Field types understood in a query: `bool`, `int` with `Meta(ge=, le=)`, `str` with
`Meta(min_length=, max_length=)`, `Literal` of strings, `list[str]` (comma-separated),
`AbsolutePath` (also as `<name>_b64`), each `| None`. In a body null is absent, but for fields
typed `| None | UnsetType`, which it clears.
Source: wire contract, section 1, "parameters" and "bodies".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import inspect

from hutch.wire import paths
from hutch.wire.errors import Failure
from hutch.wire.paths import shorten

S = TypeVar("S", bound=msgspec.Struct)

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_MOST_DIGITS: Final = 19


@cache
def fields(shape: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    """The fields of a struct, in order."""
    info = inspect.type_info(shape)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{shape!r} is no struct")
    return info.fields


def is_path(type_: inspect.Type) -> bool:
    """Whether a field is an `AbsolutePath`, whatever stands around it."""
    if isinstance(type_, inspect.Metadata):
        return (type_.extra or {}).get("wire") == "path" or is_path(type_.type)
    if isinstance(type_, inspect.UnionType):
        return any(is_path(one) for one in type_.types)
    return False


@cache
def _path_names(shape: type[msgspec.Struct]) -> frozenset[str]:
    """Which fields are paths; asked of every request, so found out once."""
    return frozenset(one.encode_name for one in fields(shape) if is_path(one.type))


@cache
def _nullable_names(shape: type[msgspec.Struct]) -> frozenset[str]:
    """Which fields tell null from absent: those that are unset by default and may be None."""
    return frozenset(
        one.encode_name
        for one in fields(shape)
        if not one.required
        and one.default is msgspec.NODEFAULT
        and one.default_factory is msgspec.NODEFAULT
        and isinstance(one.type, inspect.UnionType)
        and any(isinstance(kind, inspect.NoneType) for kind in one.type.types)
    )


def _bare(type_: inspect.Type) -> inspect.Type:
    """The type without metadata and without `| None`."""
    if isinstance(type_, inspect.Metadata):
        return _bare(type_.type)
    if isinstance(type_, inspect.UnionType):
        rest = [one for one in type_.types if not isinstance(one, inspect.NoneType)]
        return _bare(rest[0])
    return type_


def schema(type_: inspect.Type) -> dict[str, Any]:
    """The JSON schema of a field that a query can hold."""
    kind = _bare(type_)
    match kind:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType(ge=low, le=high):
            bounds = {"minimum": low, "maximum": high}
            return {"type": "integer"} | {k: v for k, v in bounds.items() if v is not None}
        case inspect.LiteralType(values=values):
            return {"enum": list(values)}
        case inspect.ListType():
            return {"type": "array", "items": {"type": "string"}}
        case _:
            return {"type": "string"}


# --- queries ---------------------------------------------------------------------------------


def split_query(query_string: bytes) -> dict[str, bytes]:
    """The parameters of a raw query string; of a doubled one the last counts."""
    found: dict[str, bytes] = {}
    for pair in query_string.split(b"&") if query_string else ():
        name, _, value = pair.partition(b"=")
        if name:
            found[_unquote(name).decode("utf-8", "replace")] = _unquote(value)
    return found


def split_pair(pair: bytes) -> tuple[bytes, bytes]:
    """Name and value of one parameter, its quoting undone."""
    name, _, value = pair.partition(b"=")
    return _unquote(name), _unquote(value)


def _unquote(text: bytes) -> bytes:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    return unquote_to_bytes(text) if b"%" in text else text


def _text(raw: bytes, name: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        shown = shorten(raw.decode("utf-8", "replace"))
        raise Failure("bad_request", f"{name}: not valid UTF-8: {shown}") from None
    if "\0" in text:
        raise Failure("bad_request", f"{name}: has a NUL byte in it: {shorten(text)}")
    return text


def parse_flag(text: str, *, name: str) -> bool:
    """A boolean parameter. Raises `Failure` (bad_request)."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Failure("bad_request", f"{name}: not a boolean: {shorten(text)}; give true or false")


def _integer(text: str, kind: inspect.IntType, name: str) -> int:
    digits = text.removeprefix("-")
    # `int` takes blanks, underscores and every script's digits; the wire takes ASCII ones.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS):
        raise Failure("bad_request", f"{name}: not an integer in range: {shorten(text)}")
    value = int(text)
    low, high = kind.ge, kind.le
    if low is not None and value < low:
        raise Failure("bad_request", f"{name}: out of range: {value}; the least is {low}")
    if high is not None and value > high:
        raise Failure("bad_request", f"{name}: out of range: {value}; the most is {high}")
    return value


def _bounded_text(text: str, kind: inspect.StrType, name: str) -> str:
    if kind.max_length is not None and len(text) > kind.max_length:
        raise Failure(
            "bad_request", f"{name}: {len(text)} characters; at most {kind.max_length} are taken"
        )
    if len(text) < (kind.min_length or 0):
        raise Failure("bad_request", f"{name}: empty; give a value")
    return text


def _items(text: str, kind: inspect.ListType, name: str) -> list[str]:
    items = [item for item in (part.strip() for part in text.split(",")) if item]
    if kind.max_length is not None and len(items) > kind.max_length:
        raise Failure(
            "bad_request", f"{name}: {len(items)} items; at most {kind.max_length} are taken"
        )
    return items


def _value(raw: bytes, type_: inspect.Type, name: str) -> object:
    text = _text(raw, name)
    kind = _bare(type_)
    match kind:
        case inspect.BoolType():
            return parse_flag(text, name=name)
        case inspect.IntType():
            return _integer(text, kind, name)
        case inspect.StrType():
            return _bounded_text(text, kind, name)
        case inspect.ListType():
            return _items(text, kind, name)
        case inspect.LiteralType(values=values):
            if text in values:
                return text
            wanted = ", ".join(map(str, values))
            raise Failure("bad_request", f"{name}: {shorten(text)}; give one of: {wanted}")
        case _:
            raise TypeError(f"a query cannot hold {type_!r} ({name})")


def _query_path(given: Mapping[str, bytes], name: str) -> bytes | None:
    twin = f"{name}_b64"
    if twin in given:
        return paths.from_b64(_text(given[twin], twin), name=twin)
    if name not in given:
        return None
    raw = given[name]
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        shown = shorten(paths.display(raw))
        raise Failure(
            "bad_request", f"{name}: not valid UTF-8; give {twin} instead: {shown}"
        ) from None
    return paths.normalise(raw, name=name)


def _query_values(shape: type[msgspec.Struct], query_string: bytes) -> dict[str, object]:
    given = split_query(query_string)
    values: dict[str, object] = {}
    path_names = _path_names(shape)
    for field in fields(shape):
        name = field.encode_name
        if name in path_names:
            path = _query_path(given, name)
            if path is not None:
                values[name] = path
        elif name in given:
            values[name] = _value(given[name], field.type, name)
    return values


def parse_query(shape: type[S], query_string: bytes) -> S:
    """A query string into a complete, checked `shape`; unknown parameters are ignored.

    Raises `Failure` (bad_request) naming the parameter and the value.
    """
    return _complete(shape, _query_values(shape, query_string))


# --- bodies ----------------------------------------------------------------------------------


def decode_object(body: bytes) -> dict[str, Any]:
    """A JSON object, without the fields that are null; an empty body is an empty object.

    Raises `Failure` (bad_request) for anything else.
    """
    return {name: one for name, one in _object(body).items() if one is not None}


def _object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        raise Failure("bad_request", "body: JSON nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error).removeprefix("JSON is malformed: ")
        raise Failure("bad_request", f"body: malformed JSON: {why}") from None
    if not isinstance(value, dict):
        raise Failure("bad_request", "body: not a JSON object")
    return value


def _text_field(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise Failure("bad_request", f"{name}: not a string")
    return value


def _body_path(given: Mapping[str, Any], name: str) -> bytes | None:
    twin = f"{name}_b64"
    encoded = _text_field(given, twin)
    if encoded is not None:
        return paths.from_b64(encoded, name=twin)
    text = _text_field(given, name)
    return None if text is None else paths.from_text(text, name=name)


def _body_values(shape: type[msgspec.Struct], body: bytes) -> dict[str, object]:
    given = _object(body)
    values: dict[str, object] = {}
    path_names, nullable = _path_names(shape), _nullable_names(shape)
    for field in fields(shape):
        name = field.encode_name
        value = _body_path(given, name) if name in path_names else given.get(name)
        if value is not None or (name in nullable and name in given):
            values[name] = value
    return values


def parse_body(shape: type[S], body: bytes) -> S:
    """A JSON body into a complete, checked `shape`; unknown fields are ignored.

    Raises `Failure` (bad_request) naming the field.
    """
    return _complete(shape, _body_values(shape, body))


def parse_either(shape: type[S], query_string: bytes, body: bytes) -> S:
    """`shape` for endpoints that take each field in the query or in the body.

    A field of the body counts before the same one of the query. Raises `Failure`
    (bad_request).
    """
    return _complete(shape, _query_values(shape, query_string) | _body_values(shape, body))


def _complete(shape: type[S], values: dict[str, object]) -> S:
    for field in fields(shape):
        if field.required and field.encode_name not in values:
            raise Failure("bad_request", f"{field.encode_name}: missing; this request needs it")
    try:
        return msgspec.convert(values, shape, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at `$.")
        raise Failure("bad_request", f"{where.rstrip('`') or 'body'}: {sentence}") from None
