"""The store that the archive is in: S3-compatible, or a folder. Every call ends within the timeout, or says why not."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from streamapp.errors import Misconfigured, Unavailable
from streamapp.loopback import is_loopback
from streamapp.settings import ArchiveSettings

RETRIES = 2  # of one call; who writes asks again anyway
CONNECT_S = 5.0
ADVICE = "set STREAM_ARCHIVE__URL to an empty prefix, or find out who wrote it"

Answer = TypeVar("Answer")

_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_CAUSE = re.compile(r'(?:message|error): "([^"]{1,200})"')


class ArchiveStore:
    """Objects by name below the URL. Raises `Unavailable` when asking again may help, `Misconfigured` when not."""

    def __init__(self, url: str, store: S3Store | LocalStore, timeout_s: float, folder: Path | None) -> None:
        self.url = url.rstrip("/")
        self._store: Any = store
        self._timeout_s = timeout_s
        self._folder = folder  # of a local store: what it writes is made to stay

    async def create(self, name: str, data: bytes) -> None:
        """Write an object that is never changed. One that is there with the same bytes is left alone."""
        try:
            await self._asked(obstore.put_async(self._store, name, data, mode="create", use_multipart=False), name)
        except exceptions.AlreadyExistsError:
            if await self.get(name) != data:
                raise Misconfigured(f"{self.url}/{name} is there with other bytes: {ADVICE}") from None
        await self._stays(name)

    async def replace(self, name: str, data: bytes) -> None:
        """Write an object whatever is there."""
        await self._asked(obstore.put_async(self._store, name, data, use_multipart=False), name)
        await self._stays(name)

    async def get(self, name: str) -> bytes | None:
        """An object's bytes; None if there is none of this name."""
        try:
            return await self._asked(self._read(name), name)
        except FileNotFoundError:
            return None

    async def names(self, prefix: str, after: str | None = None) -> AsyncIterator[tuple[str, int]]:
        """Name and size of every object below a folder, in no order; those of a folder that is not there are none."""
        stream = obstore.list(self._store, prefix, offset=after, chunk_size=1000)
        while True:
            try:
                chunk = await self._asked(self._next(stream), prefix)
            except FileNotFoundError:
                return
            if chunk is None:
                return
            for item in chunk:
                yield item["path"], item["size"]

    async def _read(self, name: str) -> bytes:
        answer = await obstore.get_async(self._store, name)
        return bytes(await answer.bytes_async())

    async def _next(self, stream: Any) -> Any:
        with suppress(StopAsyncIteration):
            return await stream.__anext__()
        return None

    async def _asked(self, asking: Awaitable[Answer], name: str) -> Answer:
        where = f"{self.url}/{name}"
        try:
            return await asyncio.wait_for(asking, (RETRIES + 1) * self._timeout_s)
        except exceptions.AlreadyExistsError:
            raise
        except TimeoutError:
            raise Unavailable(f"the archive does not answer: {where}: nothing for {self._timeout_s:g} s") from None
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise Misconfigured(
                    f"{where}: there is no such bucket; create it, or set STREAM_ARCHIVE__URL"
                ) from None
            raise FileNotFoundError(name) from None
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
            raise Misconfigured(f"{where}: {said(error)}; {_key_advice(self._folder)}") from None
        except (exceptions.NotSupportedError, NotImplementedError) as error:
            raise Misconfigured(f"{where}: the store cannot do a conditional write: {said(error)}") from None
        except (exceptions.BaseError, OSError) as error:
            _refuse_no_bucket(error, where)
            raise Unavailable(f"the archive does not answer: {where}: {said(error)}") from None

    async def _stays(self, name: str) -> None:
        if self._folder is not None:
            try:
                await asyncio.to_thread(_sync, self._folder / name)
            except OSError as error:
                raise Unavailable(f"the archive does not answer: {self.url}/{name}: {error.strerror}") from None


def open_archive(settings: ArchiveSettings, url: str) -> ArchiveStore:
    """The store of a URL, not asked for anything yet. Raises `Misconfigured` for a URL or endpoint that cannot be."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and len(parts.path) > 1:
        folder = Path(url2pathname(parts.path))
        try:
            return ArchiveStore(url, LocalStore(folder, mkdir=True), settings.timeout_seconds, folder)
        except (exceptions.BaseError, OSError) as error:
            raise Misconfigured(f"STREAM_ARCHIVE__URL={url}: {said(error)}") from None
    if parts.scheme == "s3" and parts.netloc:
        return ArchiveStore(url, _s3(settings, url), settings.timeout_seconds, None)
    raise Misconfigured(f"STREAM_ARCHIVE__URL={url} is neither s3://bucket/prefix nor file:///folder")


def _s3(settings: ArchiveSettings, url: str) -> S3Store:
    endpoint = urlsplit(settings.endpoint or "https://")
    if endpoint.scheme not in ("http", "https"):
        raise Misconfigured(f"STREAM_ARCHIVE__ENDPOINT={settings.endpoint} is not an https:// address")
    plain = endpoint.scheme == "http"
    if plain and not is_loopback(endpoint.hostname) and not settings.allow_http:
        raise Misconfigured(
            f"STREAM_ARCHIVE__ENDPOINT={settings.endpoint} is without TLS: use https://, or set "
            f"STREAM_ARCHIVE__ALLOW_HTTP=true in a network of your own"
        )
    config: Any = {"region": settings.region, "conditional_put": "etag", "checksum_algorithm": "SHA256"}
    if settings.endpoint is not None:
        config |= {"endpoint": settings.endpoint, "virtual_hosted_style_request": False}
    keys = ("access_key_id", "secret_access_key", "session_token")
    secrets = {name: getattr(settings, name) for name in keys}
    config |= {name: secret.get_secret_value() for name, secret in secrets.items() if secret is not None}
    timeout = timedelta(seconds=settings.timeout_seconds)
    return S3Store.from_url(
        url,
        config=config,
        client_options={
            "allow_http": plain,
            "timeout": timeout,
            "connect_timeout": timedelta(seconds=min(CONNECT_S, settings.timeout_seconds)),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timeout},
    )


def said(error: BaseException) -> str:
    """What a store has against a call, in a few words: its whole answer can have keys and signatures in it."""
    text = str(error)
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code is not None:
        return code[1] + (f" ({message[1]})" if message is not None else "")
    words, _, source = text.partition("Debug source:")
    return (" ".join(words.split()).rpartition(" - ")[2][:300] or type(error).__name__) + _cause(source)


def _cause(source: str) -> str:
    """Why a request was not sent. The words before say only that it was not."""
    if (certificate := _CERTIFICATE.search(source)) is not None:
        return f": the server's certificate is not trusted ({certificate[1]}); SSL_CERT_FILE names those that are"
    cause = _CAUSE.search(source)
    return "" if cause is None else f": {cause[1]}"


def _refuse_no_bucket(error: BaseException, where: str) -> None:
    if "NoSuchBucket" in str(error):
        raise Misconfigured(f"{where}: there is no such bucket; create it, or set STREAM_ARCHIVE__URL") from None


def _key_advice(folder: Path | None) -> str:
    if folder is not None:
        return "give this user the right to write there"
    return "check STREAM_ARCHIVE__ACCESS_KEY_ID, its secret and its rights (s3:GetObject, PutObject, ListBucket)"


def _sync(path: Path) -> None:
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
