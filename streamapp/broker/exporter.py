"""The broker's own metrics for Prometheus: the JMX exporter as an agent inside of it (docs/adr/0048).

Its jar is fetched as Kafka's are, by a lock of its own: it is no part of the class path, and Kafka's command line tools
must not load it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from streamapp.broker.jars import jars
from streamapp.processes.child import HOST

LOCK = Path(__file__).with_name("exporter.lock")
BEANS = Path(__file__).with_name("exporter.yml")


def agent(cache_dir: Path, port: int) -> list[str]:
    """The JVM's flag with which a broker answers `/metrics` on this port of the loopback interface; none for port 0.

    Raises `Unavailable` when the jar cannot be had.
    """
    if not port:
        return []
    (jar,) = jars(cache_dir.resolve(), lock=LOCK)
    return [f"-javaagent:{jar}={HOST}:{port}:{BEANS}"]


if __name__ == "__main__":
    from streamapp.settings import current

    folder = Path(sys.argv[1])  # as the entrypoint of an image wants it: deploy/kafka/entrypoint.sh
    folder.mkdir(parents=True, exist_ok=True)
    (made,) = jars(current().cache_dir, lock=LOCK)
    shutil.copyfile(made, folder / "jmx_prometheus_javaagent.jar")
    shutil.copyfile(BEANS, folder / BEANS.name)
