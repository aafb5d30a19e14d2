"""The contract as files, for teams in other languages: schemas, golden vectors, an AsyncAPI document, producers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamapp.contract.document import document
from streamapp.contract.vectors import POISONS, vectors
from streamapp.schemas.catalog import json_schemas

CLIENTS = Path(__file__).with_name("clients")

READ_ME = """# The contract of Hanzo Stream, for producers in any language

- `schemas/`: a JSON Schema (2020-12) of each event type, envelope included.
- `vectors/`: a file per topic, a record per line. `key`; `value_b64`, null for a record without a value; `verdict`:
  `accept`, `repeated`, or the reason of its dead letter; `amount`: what it costs, exactly; `partition`: that of the key
  among 4, 8 and 16. `seen` is `value` where the bytes alone show the verdict, and `log` where it takes the key, the
  moment or earlier records. `schema_takes_it`: a JSON Schema has nothing against it; some rules have no words there.
- `asyncapi.json`: topics, keys, retention, and which principal may do what (AsyncAPI 3).
- `clients/`: a producer each for Go, TypeScript, Java and Rust. Our tests run them all.

The clients read `KAFKA_BOOTSTRAP` and, for a broker with locks on, `KAFKA_USER`, `KAFKA_PASSWORD_FILE` and
`KAFKA_CA_FILE`. They send one usage event, or the records of vector files that are named; do that on a broker for
tests. Then `streamapp contract check --topic llm_usage` reads back what is there, and says what is wrong.

Rules that a generated type does not know:

- Money is never a float. `cost_usd` is a JSON number with the digits of the decimal, `price` a text.
- The key is what the topic says, and its partition murmur2's: set `partitioner=murmur2_random` in librdkafka's clients.
- An id is made once per event, not per attempt.
- The value is plain JSON, without the frame of a schema registry's serializer.
"""


def files() -> Iterator[tuple[str, bytes]]:
    """Path below the folder, and content, of every file."""
    yield "README.md", READ_ME.encode()
    yield "asyncapi.json", _text(document())
    for event_type, schema in json_schemas().items():
        yield f"schemas/{event_type}.json", _text(schema)
    for topic in POISONS:
        yield f"vectors/{topic}.jsonl", "".join(vector.line() for vector in vectors(topic)).encode()
    for file in sorted(CLIENTS.rglob("*")):
        if file.is_file():
            yield f"clients/{file.relative_to(CLIENTS).as_posix()}", file.read_bytes()


def write(folder: Path) -> list[Path]:
    """Write every file below `folder`; what stands there under the same name is replaced."""
    written = []
    for name, content in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written


def _text(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode()
