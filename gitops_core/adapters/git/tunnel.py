"""A program: connects its input and output with a host behind a proxy. ssh runs it, and nothing imports it.

    SEALOOP_PROXY    http, https or socks5 URL, with user and password
    SEALOOP_TARGET   HOST:PORT, which the proxy resolves

Source: RFC 9110 (CONNECT), RFC 1928 and 1929 (SOCKS 5), ssh_config(5) (ProxyCommand).
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import socket
import ssl
import sys
import threading
from urllib.parse import SplitResult, unquote, urlsplit

SECONDS = 30.0
CHUNK = 1 << 16
MOST_HEAD = 1 << 16


class Refused(Exception):
    """The proxy will not, or does not speak as one; the message quotes no credential."""


def main() -> int:
    proxy = urlsplit(os.environ["SEALOOP_PROXY"])
    host, _, port = os.environ["SEALOOP_TARGET"].rpartition(":")
    try:
        connection = socket.create_connection((proxy.hostname or "", proxy.port or 0), SECONDS)
        if proxy.scheme == "https":
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=proxy.hostname)
        ask = ask_socks if proxy.scheme == "socks5" else ask_http
        ask(connection, proxy, host, int(port))
    except (OSError, Refused) as error:
        sys.stderr.write(f"the proxy {proxy.hostname}:{proxy.port} does not lead to {host}:{port}: {error}\n")
        return 1
    connection.settimeout(None)
    threading.Thread(target=send, args=(connection,), daemon=True).start()
    with contextlib.suppress(OSError):
        while chunk := connection.recv(CHUNK):
            write_all(chunk)
    return 0


def write_all(chunk: bytes) -> None:
    while chunk:
        chunk = chunk[os.write(1, chunk) :]


def send(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := os.read(0, CHUNK):
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)


def ask_http(connection: socket.socket, proxy: SplitResult, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(login).decode()}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)  # no byte of what comes behind it
        if not byte or len(head) > MOST_HEAD:
            raise Refused("it answers no CONNECT")
        head += byte
    status = head.split(b"\r\n")[0].split(b" ")
    if len(status) < 2 or status[1][:1] != b"2":
        raise Refused(f"it answers {status[1][:3].decode('ascii', 'replace') if len(status) > 1 else 'nothing'}")


def ask_socks(connection: socket.socket, proxy: SplitResult, host: str, port: int) -> None:
    methods = b"\x02" if proxy.username else b"\x00"
    connection.sendall(b"\x05" + bytes([len(methods)]) + methods)
    answer = receive(connection, 2)
    if answer != b"\x05" + methods:
        raise Refused("it wants a user and a password" if answer[1:] in (b"\x02", b"\xff") else "it speaks no SOCKS 5")
    if proxy.username:
        user, password = unquote(proxy.username).encode(), unquote(proxy.password or "").encode()
        if len(user) > 255 or len(password) > 255:
            raise Refused("a user or password of over 255 bytes cannot be told")
        connection.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        if receive(connection, 2)[1:] != b"\x00":
            raise Refused("it refuses the user and password")
    connection.sendall(b"\x05\x01\x00" + write_address(host) + port.to_bytes(2, "big"))
    answer = receive(connection, 4)
    if answer[1:2] != b"\x00":
        raise Refused(f"it answers {answer[1]}")
    lengths = {1: 4, 4: 16, 3: 0}
    receive(connection, (lengths.get(answer[3]) or receive(connection, 1)[0]) + 2)


def write_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name
        return b"\x03" + bytes([len(host.encode())]) + host.encode()
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def receive(connection: socket.socket, count: int) -> bytes:
    held = b""
    while len(held) < count:
        chunk = connection.recv(count - len(held))
        if not chunk:
            raise Refused("it hangs up")
        held += chunk
    return held


if __name__ == "__main__":
    sys.exit(main())
