"""An application for the rows of the port proxy: as little as can be asked, in its own process.

Belongs here: small answers, floods, sinks, an echo of bytes after an upgrade. Banned here:
anything of ours. Prints its port, serves until it is ended.
`python benches/application.py`
"""

from __future__ import annotations

import re
import socket
import threading

_PIECE = bytes(256 * 1024)
_SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def serve(connected: socket.socket) -> None:
    """Answers requests on one connection until it closes."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    with connected:
        while True:
            while b"\r\n\r\n" not in rest:
                data = connected.recv(65536)
                if not data:
                    return
                rest += data
            head, _, rest = rest.partition(b"\r\n\r\n")
            rest = answer(connected, head, rest)


def answer(connected: socket.socket, head: bytes, rest: bytes) -> bytes:
    """Answers one request; what came after it."""
    path = head.split()[1]
    if path.startswith(b"/flood/"):
        size = int(path.rpartition(b"/")[2])
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(_PIECE)):
            connected.sendall(_PIECE)
    elif path == b"/socket":
        connected.sendall(_SWITCHED)
        while data := connected.recv(65536):
            connected.sendall(data)
    else:
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        left = int(length[1]) - len(rest) if length else 0
        space = bytearray(len(_PIECE))
        while left > 0:
            left -= connected.recv_into(space, min(left, len(space)))
        rest = b"" if length else rest
        connected.sendall(_SMALL)
    return rest


def main() -> None:
    """Serves on a free port of 127.0.0.1, a thread a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connected, _ = listener.accept()
            threading.Thread(target=serve, args=(connected,), daemon=True).start()


if __name__ == "__main__":
    main()
