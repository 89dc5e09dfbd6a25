"""A consumer that keeps what the broker sends as bytes, to be read later.

To read a message costs pika ten times what it costs to receive it. Whoever watches a system at its limits on the
machine on which that runs takes that time from it, and so does not read before it is over. Frames are as in AMQP 0-9-1,
section 4.2 (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf); pika makes them and reads them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pika
from pika import frame, spec
from pika.exceptions import AMQPConnectionError

_FRAME = struct.Struct(">BHL")
_END_BYTES = 1
_MOST_BYTES = 1 << 16
_WITHIN_S = 5.0
_CHANNEL = 1


class RawConsumer:
    """Consumes one queue without acknowledging. Close it after use.

    Raises OSError where there is no connection, pika's AMQPError where the broker does not let us in.
    """

    def __init__(self, parameters: pika.ConnectionParameters, queue: str) -> None:
        self._parameters = parameters
        self._socket = socket.create_connection((parameters.host, parameters.port), timeout=_WITHIN_S)
        self._came = b""
        try:
            if (tls := parameters.ssl_options) is not None:
                self._socket = tls.context.wrap_socket(self._socket, server_hostname=parameters.host)
            self._socket.sendall(frame.ProtocolHeader().marshal())
            self._log_in(self._await(spec.Connection.Start))
            self._ask(_CHANNEL, spec.Channel.Open(), spec.Channel.OpenOk)
            self._ask(_CHANNEL, spec.Basic.Consume(queue=queue, no_ack=True), spec.Basic.ConsumeOk)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def take(self, patience_s: float) -> bytes:
        """What has come since; nothing, if nothing comes within so many seconds. Raises OSError when the broker
        goes."""
        if came := self._came:
            self._came = b""
            return came
        self._socket.settimeout(patience_s)
        try:
            return self._receive()
        except TimeoutError:
            return b""

    def _receive(self) -> bytes:
        if came := self._socket.recv(_MOST_BYTES):
            return came
        raise ConnectionResetError("the broker has closed the connection")

    def _log_in(self, start: Any) -> None:
        mechanism, response = self._parameters.credentials.response_for(start)
        answer = spec.Connection.StartOk(client_properties={}, mechanism=mechanism, response=response, locale="en_US")
        tune = self._ask(0, answer, spec.Connection.Tune)
        self._send(0, spec.Connection.TuneOk(channel_max=tune.channel_max, frame_max=tune.frame_max, heartbeat=0))
        self._ask(0, spec.Connection.Open(virtual_host=self._parameters.virtual_host), spec.Connection.OpenOk)

    def _ask(self, channel: int, method: Any, answer: type[Any]) -> Any:
        self._send(channel, method)
        return self._await(answer)

    def _send(self, channel: int, method: Any) -> None:
        self._socket.sendall(frame.Method(channel, method).marshal())

    def _await(self, answer: type[Any]) -> Any:
        while (first := next(_frames(self._came), None)) is None:
            self._came += self._receive()
        one, length = first
        self._came = self._came[length:]
        method = getattr(one, "method", one)
        if isinstance(method, answer):
            return method
        raise AMQPConnectionError(f"{answer.NAME} was awaited, and {method} came")


def deliveries(came: bytes) -> Iterator[tuple[Any, Any, bytes, int]]:
    """Each whole message among the bytes: its delivery, properties and body, and how far it reaches."""
    delivery = properties = None
    body, reached = b"", 0
    for one, length in _frames(came):
        reached += length
        if isinstance(one, frame.Method):
            delivery, body = (one.method, b"") if isinstance(one.method, spec.Basic.Deliver) else (None, b"")
        elif isinstance(one, frame.Header):
            properties, missing = one.properties, one.body_size
        elif isinstance(one, frame.Body):
            body += one.fragment
        if delivery is not None and not isinstance(one, frame.Method) and len(body) >= missing:
            yield delivery, properties, body, reached
            delivery = None


def _frames(came: bytes) -> Iterator[tuple[Any, int]]:
    """Each whole frame, and its length."""
    at = 0
    while len(came) - at >= _FRAME.size:
        length = _FRAME.size + _FRAME.unpack_from(came, at)[2] + _END_BYTES
        if len(came) - at < length:
            return
        yield frame.decode_frame(came[at : at + length])[1], length
        at += length
