"""The server behind the proxies of the bench: answers messages, or swallows a stream of them and takes the time."""

from __future__ import annotations

import socket
import struct
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pika
from pika import frame, spec

CHUNK = 256 << 10
STREAM_BYTES = 96 << 20
HTTP_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Talk(NamedTuple):
    """What a client says. ``hello`` is the answer to its ``preface``, ``answer`` the one to each ``message`` of it."""

    name: str
    protocol: str
    preface: bytes
    hello: bytes
    message: bytes
    answer: bytes
    """Empty: they are swallowed."""

    @property
    def chunk(self) -> bytes:
        """As many messages as are sent at a time."""
        return self.message * (CHUNK // len(self.message))

    @property
    def chunks(self) -> int:
        """So many make a stream."""
        return STREAM_BYTES // len(self.chunk)


def talks() -> list[Talk]:
    """Messages of 64 bytes there and back, a publish and its confirm, and three streams of messages of 1 KiB."""
    greeting = b"AMQP\x00\x00\x09\x01"
    ask, nothing = _method(spec.Basic.Get(queue="q" * 48)), _method(spec.Basic.GetEmpty(cluster_id="c" * 51))
    confirming = greeting + _method(spec.Channel.Open()) + _method(spec.Confirm.Select(nowait=True))
    opened = _method(spec.Channel.OpenOk())
    publish = _publish(1024)
    return [
        Talk("small", "amqp", confirming, opened, ask, nothing),
        Talk("confirmed", "amqp", confirming, opened, publish, _method(spec.Basic.Ack(1))),
        Talk("amqp", "amqp", confirming, opened, publish, b""),
        Talk("postgres", "postgres", *_copy(), b""),
        Talk("http", "http", b"", b"", _request(1024), b""),
    ]


def _method(said: Any) -> bytes:
    return bytes(frame.Method(1, said).marshal())


def _publish(size: int) -> bytes:
    begins = _method(spec.Basic.Publish(exchange="crm.events", routing_key="lead.stage.changed", mandatory=True))
    properties = pika.BasicProperties(
        message_id="5c0f6f1e-8f7b-4f65-9b0a-0a3f5f3f0001", correlation_id="5c0f6f1e-8f7b-4f65-9b0a-0a3f5f3f0002",
        type="lead.stage.changed", app_id="pipeline", delivery_mode=2, headers={"attempt": 1, "schema_version": 1},
    )  # fmt: skip
    header, body = frame.Header(1, size, properties).marshal(), frame.Body(1, bytes(size)).marshal()
    return begins + bytes(header) + bytes(body)


def _copy() -> tuple[bytes, bytes, bytes]:
    """A client that fills a table: start-up and COPY, what the server says to that, and one row."""
    start = b"user\x00crm\x00database\x00crm\x00\x00"
    query = b"COPY crm.leads FROM STDIN\x00"
    preface = struct.pack(">II", 8 + len(start), 196608) + start + b"Q" + struct.pack(">I", 4 + len(query)) + query
    hello = b"R" + struct.pack(">II", 8, 0) + b"Z" + struct.pack(">Ic", 5, b"I") + b"G" + struct.pack(">IBH", 7, 0, 0)
    return preface, hello, b"d" + struct.pack(">I", 1023) + bytes(1019)


def _request(size: int) -> bytes:
    head = (
        b"POST /leads HTTP/1.1\r\nHost: 127.0.0.1:8001\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (size - len(head) - 1) + b"x" * (size - len(head) - 1)


def serve(told: Connection) -> None:
    """One listener for each talk; first their ports are told, then how each stream went: (bytes, seconds)."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=256) for _ in talks()]
    for talk, listener in zip(talks(), listeners, strict=True):
        threading.Thread(target=_accept, args=(talk, listener, told), daemon=True).start()
    told.send([listener.getsockname()[1] for listener in listeners])
    threading.Event().wait()


def _accept(talk: Talk, listener: socket.socket, told: Connection) -> None:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer if talk.answer else _swallow, args=(talk, client, told), daemon=True).start()


def _answer(talk: Talk, client: socket.socket, told: Connection) -> None:
    with client:
        _greet(talk, client)
        while read_exactly(client, len(talk.message)):
            client.sendall(talk.answer)


def _swallow(talk: Talk, client: socket.socket, told: Connection) -> None:
    """Answers by and by, where that is usual: the proxy has to keep account of what is still without an answer."""
    buffer, whole, size = bytearray(CHUNK), talk.chunks * len(talk.chunk), len(talk.message)
    with client:
        _greet(talk, client)
        total = client.recv_into(buffer)
        began, answered = time.perf_counter(), 0
        while total < whole and (came := client.recv_into(buffer)):
            total += came
            if talk.protocol == "amqp":
                client.sendall(_method(spec.Basic.Ack(total // size, multiple=True)))
            elif talk.protocol == "http":
                client.sendall(HTTP_ANSWER * (total // size - answered))
                answered = total // size
        told.send((total, time.perf_counter() - began))


def _greet(talk: Talk, client: socket.socket) -> None:
    read_exactly(client, len(talk.preface))
    client.sendall(talk.hello)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes; none if the stream ended."""
    data = sock.recv(size)
    while data and len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return b""
        data += more
    return data
