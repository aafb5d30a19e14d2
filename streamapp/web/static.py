"""The few files of the pages, read once, served from memory under a name that changes with their content."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from aiohttp import web

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
YEAR_S = 31_536_000
CHARTS = "lightweight-charts.js"


class Files:
    """Everything under `static/`, and the script of the charts as its package brings it."""

    def __init__(self) -> None:
        folder = Path(__file__).parent / "static"
        found = [*sorted(path for path in folder.iterdir() if path.suffix in TYPES), charts_script()]
        self._files = {path.name: (TYPES[path.suffix], path.read_bytes()) for path in found}
        self._digests = {name: hashlib.sha256(body).hexdigest()[:12] for name, (_, body) in self._files.items()}

    def url(self, name: str) -> str:
        """Address with the content's digest, so that it can be cached for ever."""
        return f"/static/{name}?v={self._digests[name]}"

    async def serve(self, request: web.Request) -> web.Response:
        """`/static/{name}`: for ever under the right digest, else asked again each time."""
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        kind, body = self._files[name]
        tag = f'"{self._digests[name]}"'
        lasting = request.query.get("v") == self._digests[name]
        headers = {
            "Cache-Control": f"public, max-age={YEAR_S}, immutable" if lasting else "no-cache",
            "ETag": tag,
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        response = web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
        response.enable_compression()
        return response


def charts_script() -> Path:
    """The charting library in its package. The package itself is not imported: it would bring a window of its own."""
    spec = find_spec("lightweight_charts")
    assert spec is not None, "a dependency of this project"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "js" / CHARTS
