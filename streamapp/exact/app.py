"""A Faust app whose agents get chunks, and whose tables are exact.

What is Faust's stays Faust's: the app, agents, the worker command, group membership and assignment, the web server.
Replaced is what loses or doubles events (docs/adr/0001): the event path, offset commits and table recovery.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
from faust.exceptions import AlreadyConfiguredWarning
from faust.sensors.monitor import Monitor
from faust.web.drivers.aiohttp import Web as AiohttpWeb
from mode import Service
from mode.supervisors import CrashingSupervisor

from streamapp import settings as settings_module
from streamapp.access.wanted import of_group
from streamapp.clock import Clock, wall_ms
from streamapp.errors import StreamError, Unavailable
from streamapp.exact.consumer import ChunkSchema, ChunkTransport
from streamapp.exact.declaration import Declaration, TableDeclaration
from streamapp.exact.faust.clients import credentials, group_error
from streamapp.exact.faust.commands import use_ours
from streamapp.exact.faust.failstop import failstop, starting
from streamapp.exact.faust.recovery import ExactTables
from streamapp.exact.faust.repeats import thin_out
from streamapp.exact.needs import LOOK_S, Needs, missing_text, topics_there
from streamapp.exact.ownership import Ownership, TakeOver
from streamapp.exact.partition.chunk import Chunk
from streamapp.exact.slot import Slot, take_slot
from streamapp.exact.table import ExactTable, ReadOnlyTopic, Sink
from streamapp.kafka.clients.aio import denied
from streamapp.kafka.trouble import PROPAGATION_S, Right
from streamapp.settings import Settings
from streamapp.topics import registry

__all__ = ["StreamApp", "chunks", "starting"]

log = logging.getLogger(__name__)

ANY_PORT = 6066
GC_THRESHOLD = (100_000, 20, 50)
"""A chunk's records come and go together; with Python's own 700, collections between them look at every row in memory
and cost a third of the worker's time."""

WATCH_S = 1.0
STOP_S = 18.0  # from SIGTERM to the end of the process; a chunk under way takes less while Kafka answers


class PagesOnly(AiohttpWeb):
    """Faust's web server without Faust's own pages: `/` is ours."""

    production_blueprints = ()


class PlacedWorker(faust.Worker):
    """What `faust worker` starts: an app that has its place on this host."""

    _bound: threading.Timer | None = None

    def __init__(self, app: Any, *services: Any, **options: Any) -> None:
        app.take_place()
        super().__init__(app, *services, **options)

    async def start(self) -> None:
        """Kafka may go between the app's first question and those of its clients."""
        try:
            await super().start()
        except Exception as error:
            if self.should_stop:
                raise
            failstop(self.app.denied(error), "starting the worker")

    def _schedule_shutdown(self, signal: Any) -> None:
        """Kafka's clients wait long for a broker that is away, and Kubernetes kills after 30 s. To end sooner loses
        nothing: the next owner settles what is under way."""
        if self._bound is None:
            self._bound = threading.Timer(STOP_S, _stopped_too_long)
            self._bound.daemon = True
            self._bound.start()
        super()._schedule_shutdown(signal)


def _stopped_too_long() -> None:
    """Said by a thread of its own: whatever the event loop waits for, the process ends."""
    reason = f"Kafka did not answer for {STOP_S:g} s; nothing is lost, the next owner goes on"
    failstop(Unavailable(reason), "stopping the worker")


class StreamApp(faust.App):
    """The app of one consumer group. `id` is the group's name, never with a version."""

    settings: Settings
    ownership: Ownership
    slot: Slot | None = None
    on_placed: Callable[[StreamApp], None] = staticmethod(lambda app: None)  # told when the worker has its place

    def __init__(self, group: str, *, settings: Settings | None = None, clock: Clock = wall_ms) -> None:
        self.settings = settings = settings or settings_module.load()
        self.clock = clock
        use_ours()
        rights = [Right(acl.operation, acl.kind, acl.name) for acl in of_group(group) if acl.kind == "topic"]
        self.needs = Needs([*dict.fromkeys(right.name for right in rights)], topics_there(settings.kafka, rights))
        # Faust knows no port 0: until the worker has its place, the usual one stands for "any".
        self._first_port = (settings.web.port or ANY_PORT) + registry.port_offset(group)
        worker = settings.worker
        bootstrap = settings.kafka.bootstrap_servers.split(",")
        super().__init__(
            group,
            broker=[f"kafka://{server.strip()}" for server in bootstrap],
            broker_credentials=credentials(settings.kafka),
            datadir=settings.state_dir / group,
            agent_supervisor=CrashingSupervisor,
            TableManager=ExactTables,
            Topic=ReadOnlyTopic,
            Worker=PlacedWorker,
            Monitor=Monitor,
            store="memory://",
            topic_disable_leader=True,
            topic_allow_declare=False,
            table_standby_replicas=0,
            stream_recovery_delay=0,
            stream_wait_empty=False,
            stream_buffer_maxsize=2,
            stream_publish_on_commit=False,
            broker_max_poll_records=worker.chunk_records,
            broker_session_timeout=worker.session_timeout_seconds,
            broker_heartbeat_interval=max(0.5, worker.session_timeout_seconds / 5),
            broker_rebalance_timeout=60.0,
            broker_request_timeout=90.0,
            broker_commit_interval=5.0,
            consumer_max_fetch_size=512 * 1024,
            web_stats_enabled=False,
            web_graph_enabled=False,
            web_router_enabled=False,
            web_tables_enabled=False,
            web_metrics_enabled=False,
            web_bind=settings.web.host,
            web_host=settings.web.host,
            web_port=self._first_port,
        )

    def _create_directories(self) -> None:
        pass  # Faust keeps nothing on disk here; the slot's folder holds the tables

    def _new_web(self) -> Any:
        return PagesOnly(self)

    def _new_transport(self) -> Any:
        return ChunkTransport(self.conf.broker_consumer, self)

    def take_place(self) -> None:
        """Take a place on this host, before anything starts."""
        host = self.settings.web.host
        try:
            self.slot = slot = take_slot(self.conf.id, self.settings.state_dir, host, self._wanted_port())
        except StreamError as error:
            failstop(error, "starting the worker")
        with warnings.catch_warnings():  # nothing has used the old values but the question above
            warnings.simplefilter("ignore", AlreadyConfiguredWarning)
            self.conf.web_port = slot.port
            self.conf.canonical_url = f"http://{host}:{slot.port}"
            self.conf.consumer_group_instance_id = slot.instance_id
        self.ownership.folder = slot.folder
        thin_out("aiokafka")
        gc.set_threshold(*GC_THRESHOLD)
        self.on_placed(self)

    @property
    def port_offset(self) -> int:
        """How far this worker's ports lie behind the first one on its host."""
        assert self.slot is not None, "the worker has its place"
        return registry.port_offset(self.conf.id) + self.slot.number

    def _wanted_port(self) -> int:
        """The port asked for on the command line, else by the settings; 0: any."""
        asked: int = self.conf.web_port
        return 0 if self.settings.web.port == 0 and asked == self._first_port else asked

    def own(self, topic: str, take_over: TakeOver) -> None:
        """Say how partitions of a topic are taken over when a rebalance brings them."""
        ownership = self.ownership = Ownership(topic, take_over, self.settings.state_dir)

        async def taken(app: Any, **kwargs: Any) -> None:
            assignment = self.consumer.assignment()
            await ownership.take_over({tp.partition for tp in assignment if tp.topic == topic})

        async def revoked(app: Any, revoked: Any, **kwargs: Any) -> None:
            await ownership.release()

        self.on_rebalance_complete.connect(taken, weak=False)
        self.on_partitions_revoked.connect(revoked, weak=False)

    async def on_first_start(self) -> None:
        """Demand the topics before the worker joins its group."""
        try:
            await asyncio.to_thread(self.needs.demand, PROPAGATION_S)
        except StreamError as error:
            failstop(error, "starting the worker")
        await super().on_first_start()

    @Service.task
    async def _watch_topics(self) -> None:
        """A topic may be deleted while the worker runs: `/health` and the pages say so until it is there again."""
        while not self.should_stop:
            await self.sleep(LOOK_S)
            try:
                changed = await asyncio.to_thread(self.needs.look)
            except StreamError as error:
                log.warning("%s", error)
                continue
            if changed and self.needs.missing:
                log.error("%s", missing_text(self.needs.missing))
            elif changed:
                log.info("all topics exist again")

    @Service.task
    async def _watch_group(self) -> None:
        """aiokafka's group routine ends at an error that it did not foresee, and says so to whoever fetches next:
        during a rebalance that is nobody, and the worker would wait for ever."""
        while not self.should_stop:
            await self.sleep(WATCH_S)
            error = group_error(self.consumer)
            if error is not None and not self.should_stop:
                failstop(self.denied(error), "being a member of its group")

    def _crash(self, reason: BaseException) -> None:
        """Faust tells that one of its services ended by an error. Its own way from here takes seconds, says little and
        ends with 1, whatever happened."""
        failstop(self.denied(reason), "running its services")

    def denied(self, error: BaseException) -> BaseException:
        """The same; where it is about a right that this group's principal lacks, `Denied` that names it."""
        return denied(error, self.settings.kafka.sasl_username, "READ")

    async def on_stop(self) -> None:
        """Finish what is under way before Faust disconnects."""
        await self.ownership.release()
        await super().on_stop()

    def chunk_topic(self, name: str) -> Any:
        """A topic of the registry as a source of chunks."""
        return self.topic(name, schema=ChunkSchema(), internal=True, allow_empty=True)

    def ExactTable(self, declaration: TableDeclaration) -> ExactTable:  # named as `app.Table` is
        """The group's table: takes its partitions over, folds their chunks, shows its rows. Once per app. Raises
        `Misconfigured` for settings or a directory with which it cannot work."""
        table: ExactTable = self.tables.add(ExactTable(self, declaration, beacon=self.tables.beacon))
        return table

    def Sink(self, declaration: Declaration) -> Sink:
        """The same of a group that copies records to a destination outside Kafka (`sinks/declaration.py`)."""
        sink: Sink = self.tables.add(Sink(self, declaration, beacon=self.tables.beacon))
        return sink


async def chunks(stream: Any) -> AsyncIterator[Chunk]:
    """The chunks of a stream, one after the other; each is acknowledged in Faust's books when the next is asked for."""
    async for event in stream.noack().events():
        yield event.value
        event.ack()
