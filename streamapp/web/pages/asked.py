"""A question of the pages to a process that is no worker, over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from streamapp.errors import Unavailable
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers.fleet import bounded

ANSWER_BYTES_MAX = 4 << 20

T = TypeVar("T")


async def nobody(who: str) -> Any:
    """For pages that are not told where `who` is. Raises `Unavailable`."""
    raise Unavailable(f"these pages do not ask {who}")


async def asked(url: str, type_: type[T], timeout_s: float, sign: Sign) -> T:
    """Its answer. Raises `Unavailable`, in a few words, when there is none that can be used."""
    timeout, where = aiohttp.ClientTimeout(total=timeout_s), URL(url)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(where, headers=sign(where.raw_path_qs)) as response,
        ):
            response.raise_for_status()
            body = await bounded(response, ANSWER_BYTES_MAX)
        return msgspec.json.decode(body, type=type_)
    except TimeoutError:
        raise Unavailable(f"no answer within {timeout_s:g} s") from None
    except aiohttp.ClientResponseError as error:
        raise Unavailable(f"it answered with status {error.status}") from None
    except (aiohttp.ClientError, OSError):
        raise Unavailable("no connection") from None
    except (msgspec.MsgspecError, ValueError):
        raise Unavailable("its answer could not be read") from None


class Registered(msgspec.Struct, frozen=True):
    """A version that the schema registry serves."""

    subject: str
    version: int
    id: int


async def ask_registry(url: str, timeout_s: float, sign: Sign = unsigned) -> list[Registered]:
    """What the registry at `url` serves; only the newest version of each subject, because older ones add up. Raises
    `Unavailable`."""
    return await asked(url.rstrip("/") + "/schemas?latestOnly=true", list[Registered], timeout_s, sign)
