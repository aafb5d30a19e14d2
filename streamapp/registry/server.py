"""The registry's web server: Confluent's REST API, `/metrics` and `/health`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiohttp import web
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from streamapp.errors import StreamError
from streamapp.metrics import Told, gauges
from streamapp.registry import answers
from streamapp.registry.answers import Failure
from streamapp.registry.reading import Reading
from streamapp.registry.registry import STARTING, Registry
from streamapp.registry.writing import Writing
from streamapp.settings.web import WebSettings
from streamapp.web import job
from streamapp.web.entry.gate import Gate
from streamapp.web.entry.rights import TABLE, Route
from streamapp.web.monitor import Handler
from streamapp.web.problem import Problem

PORT = "STREAM_REGISTRY__PORT"
BODY_BYTES_MAX = 1 << 20
PAGES_ASK = "/schemas"  # for what other teams registered


def rights() -> Mapping[str, Route]:
    """Every route is for viewers; what writes asks for more itself, because registering what is there is reading."""
    registry = Registry(None)  # type: ignore[arg-type]  # its routes alone are looked at
    reading = Reading(registry)
    paths = {route.path for route in (*reading.routes(), *Writing(registry, reading).routes())}
    return {
        **TABLE,
        **{path: Route(path, "viewer", peers="also" if path == PAGES_ASK else "") for path in sorted(paths)},
    }


def application(registry: Registry, gate: Gate, settings: WebSettings) -> web.Application:
    """Everything, behind the gate of the pages."""
    told = RegistryMetrics(registry)
    app = job.application(gate, settings, told.exposition, lambda: health(registry), {}, refused)
    app.middlewares.append(told_in_its_form)
    reading = Reading(registry)
    app.add_routes(reading.routes())
    app.add_routes(Writing(registry, reading).routes())
    return app


def health(registry: Registry) -> str:
    """Blind: Kafka does not answer, which no restart mends. Reading goes on."""
    return {"": "ok", STARTING: "starting"}.get(registry.problem, "blind")


def refused(problem: Problem) -> web.Response:
    """What the gate says, in the registry's form."""
    return Failure(problem.status * 100 + 1, f"{problem}. {problem.advice}").response()


@web.middleware
async def told_in_its_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as Confluent's registry tells them, also those of aiohttp. Browsers' pages of other sites write nothing:
    they cannot send JSON, and no client that may write is a page."""
    try:
        if request.method not in {"GET", "HEAD"} and "Origin" in request.headers:
            raise Failure(403, "HTTP 403 Forbidden: a request with an Origin header is refused")
        if (request.content_length or 0) > BODY_BYTES_MAX:
            raise Failure(413, f"HTTP 413 Request Entity Too Large: at most {BODY_BYTES_MAX >> 20} MiB")
        return await handler(request)
    except Failure as failure:
        return failure.response()
    except StreamError as error:
        return Failure(answers.STORE, f"Kafka cannot be asked or written to now: {error}", 503).response()
    except web.HTTPException as error:
        return Failure(error.status, f"HTTP {error.status} {error.reason}").response()


class RegistryMetrics(Told):
    """Made anew on each scrape."""

    def __init__(self, registry: Registry) -> None:
        self._of = registry
        super().__init__()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        everything = list(self._of.state.all())
        own = sum(one.subject in self._of.state.own for one in everything)
        counts = ((("repository",), own), (("topic",), len(everything) - own))
        yield gauges("stream_registry_versions", "Schema versions that are served", ("origin",), counts)
        yield GaugeMetricFamily(
            "stream_registry_writable", "1: Kafka answers, so schemas can be registered", int(not self._of.problem)
        )
        yield CounterMetricFamily("stream_registry_writes", "Changes that this process wrote", self._of.registered)
        yield CounterMetricFamily(
            "stream_registry_fenced", "Times that another registry took over the writing", self._of.fenced
        )
