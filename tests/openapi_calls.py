"""Requests and answers by capture's OpenAPI document: made from its schemas, and held against them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import jsonschema
from capture_calls import Reply
from hypothesis import strategies as st

Node = dict[str, Any]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS_OF_JSON: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "number": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    "object": st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3),
    "array": st.lists(ANYTHING, max_size=3),
}
ITEMS_MAX = 6  # a test's arrays are shorter than the longest that is taken


class Document:
    """One, as it was served."""

    def __init__(self, served: Node) -> None:
        self.served: Node = served
        self.paths: dict[str, Node] = served["paths"]
        self._made: dict[str, st.SearchStrategy[Any]] = {}

    def validator(self, schema: Node) -> jsonschema.protocols.Validator:
        """For a schema of this document."""
        return jsonschema.Draft202012Validator({**schema, "components": self.served["components"]})

    def shape(self, name: str) -> Node:
        """A schema by its name."""
        found: Node = self.served["components"]["schemas"][name]
        return found

    def check(self, path: str, method: str, reply: Reply) -> None:
        """The answer is one of those that the document has for this operation, to the last header."""
        said = self.paths[path][method.lower()]["responses"].get(str(reply.status))
        assert said is not None, f"{method} {path} was answered {reply.status}, which is not documented: {reply.body!r}"
        self.check_response(said, reply, method)

    def check_response(self, said: Node, reply: Reply, method: str = "GET") -> None:
        """The answer is this one."""
        retried = said.get("headers", {}).get("Retry-After")
        assert ("retry-after" in reply.headers) == (retried is not None)
        if retried is not None:
            self.validator(retried["schema"]).validate(int(reply.headers["retry-after"]))
        if method == "HEAD":
            return
        if "content" not in said:
            assert reply.body == b""
            assert "content-type" not in reply.headers
            return
        kind = reply.headers["content-type"].partition(";")[0]
        told = reply.json if kind == "application/json" else reply.body.decode()
        self.validator(said["content"][kind]["schema"]).validate(told)

    def values(self, schema: Node) -> st.SearchStrategy[Any]:
        """What a schema describes."""
        name = json.dumps(schema)
        if name not in self._made:
            self._made[name] = self._values(schema).filter(self.validator(schema).is_valid)
        return self._made[name]

    def requests(self) -> st.SearchStrategy[tuple[str, str, bytes, dict[str, str]]]:
        """Path, method, body and query of requests that the document describes."""
        operations = [(path, method) for path, item in sorted(self.paths.items()) for method in sorted(item)]
        return st.one_of([self._requests(path, method) for path, method in operations])

    def _requests(self, path: str, method: str) -> st.SearchStrategy[tuple[str, str, bytes, dict[str, str]]]:
        operation = self.paths[path][method]
        body: st.SearchStrategy[bytes] = st.just(b"")
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]
            body = st.one_of([self._encoded(kind, content[kind]["schema"]) for kind in sorted(content)])
        queries = {one["name"]: self.values(one["schema"]) for one in operation.get("parameters", [])}
        needed = {one["name"] for one in operation.get("parameters", []) if one["required"]}
        query = st.fixed_dictionaries(
            {name: queries[name] for name in sorted(needed)},
            optional={name: queries[name] for name in sorted(queries.keys() - needed)},
        )
        return st.tuples(st.just(path), st.just(method.upper()), body, query)

    def _encoded(self, kind: str, schema: Node) -> st.SearchStrategy[bytes]:
        values = self.values(schema)
        if kind == "application/json":
            return values.map(lambda value: json.dumps(value).encode())
        if kind == "text/plain":
            return values.map(lambda text: text.encode(errors="replace"))
        return values.map(lambda fields: urlencode(fields, errors="replace").encode())

    def _values(self, schema: Node) -> st.SearchStrategy[Any]:
        if "$ref" in schema:
            return self._values(self.shape(schema["$ref"].rpartition("/")[2]))
        if "const" in schema:
            return st.just(schema["const"])
        if "allOf" in schema:
            rest = {name: value for name, value in schema.items() if name != "allOf"}
            parts = [self._values(part) for part in (*schema["allOf"], {"type": "object", **rest})]
            return st.tuples(*parts).map(lambda made: {name: value for part in made for name, value in part.items()})
        if "anyOf" in schema:
            rest = {name: value for name, value in schema.items() if name != "anyOf"}
            if "type" not in rest:
                return st.one_of([self._values(part) for part in schema["anyOf"]])
            some = st.one_of([self._values(part) for part in schema["anyOf"]])
            return st.tuples(self._values(rest), some).map(lambda made: {**made[0], **made[1]})
        kinds = schema.get("type", sorted(KINDS_OF_JSON))
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return st.one_of([self._of_kind(kind, schema) for kind in kinds])

    def _of_kind(self, kind: str, schema: Node) -> st.SearchStrategy[Any]:
        if kind == "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=12)
        if kind == "array" and "items" in schema:
            return st.lists(self._values(schema["items"]), min_size=schema.get("minItems", 0), max_size=ITEMS_MAX)
        if kind == "object" and "properties" in schema:
            named = {name: self._values(value) for name, value in schema["properties"].items()}
            needed = schema.get("required", [])
            return st.fixed_dictionaries(
                {name: named.get(name, ANYTHING) for name in needed},
                optional={name: value for name, value in named.items() if name not in needed},
            )
        return KINDS_OF_JSON[kind]
