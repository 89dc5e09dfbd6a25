"""Whether a server really answers: one full exchange in its own protocol, never just an open port."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import pika
import psycopg

_PATIENCE_S = 2.0


def handshake(url: str) -> bool:
    """True when the server at the URL answered; an exception of whatever kind says what it did instead."""
    match urlsplit(url).scheme:
        case "http":
            return _http(url)
        case "amqp":
            return _amqp(url)
        case "postgresql":
            return _postgresql(url)
        case "tcp":
            return _tcp(url)
        case scheme:
            raise ValueError(f"no handshake is known for {scheme}://")


def _http(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        body = response.read(500).decode(errors="replace")
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise ConnectionError(f"GET {parts.path} answered {response.status} {body}")
    return True


def _amqp(url: str) -> bool:
    _tcp(url)  # a cheap refusal while the broker boots; pika's own costs a stack of objects and log lines
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = _PATIENCE_S
    connection = pika.BlockingConnection(parameters)
    try:
        connection.channel()
    finally:
        connection.close()
    return True


def _postgresql(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=int(_PATIENCE_S)) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def _tcp(url: str) -> bool:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_PATIENCE_S):
        return True
