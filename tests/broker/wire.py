"""The wire between a broker and its clients, with somebody who listens."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from streamapp.processes.child import HOST

PIECE = 1 << 16


class Wire:
    """A port that leads to `port`. What passes, in either direction, is kept in `heard`."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: list[socket.socket] = []
        self._heard: list[bytes] = []
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def heard(self) -> bytes:
        """Everything so far. Pieces of different connections stand one after the other."""
        return b"".join(self._heard)

    def end(self) -> None:
        """Cut it."""
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    broker = socket.create_connection((HOST, self._to), 5)
                except OSError:  # it is not up yet, or away
                    client.close()
                    continue
                broker.settimeout(None)
                self._open += [client, broker]
                for here, there in ((client, broker), (broker, client)):
                    threading.Thread(target=self._pass_on, args=(here, there), daemon=True).start()

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while piece := here.recv(PIECE):
                self._heard.append(piece)
                there.sendall(piece)
        for each in (here, there):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
