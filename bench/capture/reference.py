# mypy: ignore-errors
"""The bare reference: what any Python HTTP endpoint in front of Kafka has to spend at least.

JSON is parsed, every event is produced as its own record, and 200 is answered when the last record of the request is
acknowledged: one future for each request. No token, no check, no envelope, no dead letters, no limits, no metrics.
"""

import asyncio
import os
import threading
from collections import deque

import orjson
import uvicorn
from confluent_kafka import Producer

TOPIC = os.environ["BENCH_TOPIC"]
ANSWER = b'{"status": 1}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())],
}
BODY = {"type": "http.response.body", "body": ANSWER}
FAILED = {"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}

producer = Producer(
    {
        "bootstrap.servers": os.environ["BENCH_BOOTSTRAP"],
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 200_000,
        "log_level": 2,
    }
)
acknowledged = deque()


class Request:
    """The future of one request, and how many of its records are still on their way."""

    __slots__ = ("future", "left", "right")

    def __init__(self, future, records):
        self.future, self.left, self.right = future, records, True

    def told(self, error, message):
        self.right = self.right and error is None
        self.left -= 1
        if not self.left:
            acknowledged.append(self)


def hand_over(loop):
    """In a thread: serve librdkafka's callbacks, and wake the loop once for all that came together."""
    while True:
        producer.poll(0.1)
        if acknowledged:
            loop.call_soon_threadsafe(settle)


def settle():
    while acknowledged:
        request = acknowledged.popleft()
        if not request.future.done():
            request.future.set_result(request.right)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    parsed = orjson.loads(body)
    key = parsed["api_key"].encode()
    events = parsed.get("batch") or [parsed]
    request = Request(asyncio.get_running_loop().create_future(), len(events))
    for event in events:
        producer.produce(TOPIC, orjson.dumps(event), key, on_delivery=request.told)
    right = await request.future
    await send(START if right else FAILED)
    await send(BODY if right else EMPTY)


async def main():
    threading.Thread(target=hand_over, args=(asyncio.get_running_loop(),), daemon=True).start()
    port = int(os.environ["BENCH_PORT"])
    config = uvicorn.Config(
        app, port=port, http="httptools", lifespan="off", access_log=False, log_level="warning", backlog=2048
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
