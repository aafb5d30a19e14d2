# One image for every process: docker-compose.yml says which one a container is.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN useradd --create-home --uid 10001 stream && install -d -o stream -g stream /var/lib/stream
WORKDIR /app

# The lock first: the layer of dependencies is made again only when it changes.
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY streamapp ./streamapp
COPY tables ./tables
# The express lane is C; its compiler comes as a package and does not stay.
RUN pip install ziglang==0.17.1 && python -m streamapp.runtime.express.build && pip uninstall --yes ziglang \
    && pip install --no-deps --no-build-isolation .

USER stream
ENV STREAM_STATE_DIR=/var/lib/stream
CMD ["streamapp", "--help"]
