"""Bytes on a socket: for requests that no HTTP client would send."""

from __future__ import annotations

import socket
import uuid
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import msgspec

from harness.evidence.clock import monotonic_ns
from harness.evidence.recording import Recording
from harness.evidence.records import Operation


class RawClient:
    """One connection for each request. ``token`` goes with those that do not bring an Authorization of their own."""

    def __init__(self, base_url: str, token: str, recording: Recording, *, timeout_s: float = 10.0) -> None:
        address = urlsplit(base_url)
        self._address = (address.hostname or "", address.port or 80)
        self._token, self._recording, self._timeout_s = token, recording, timeout_s

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        chunked: bool = False,
    ) -> tuple[Operation, dict[str, str]]:
        """The operation as recorded, and the answer's headers in lower case. The path and the body go as they are."""
        sent = {"Host": "crm", "Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        sent |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        sent |= headers or {}
        if chunked:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
        return self.send("\r\n".join(lines).encode("latin-1") + body, method=method)

    def send(self, data: bytes, *, method: str = "GET") -> tuple[Operation, dict[str, str]]:
        """Any bytes at all. An answer that is no HTTP, or none, makes the operation's outcome unknown."""
        invoked_ns = monotonic_ns()
        http_status: int | None = None
        headers: dict[str, str] = {}
        answer: dict[str, Any] = {}
        try:
            with socket.create_connection(self._address, self._timeout_s) as connection:
                connection.sendall(data)
                response = HTTPResponse(connection, method=method)
                response.begin()
                http_status, headers = response.status, {name.lower(): value for name, value in response.getheaders()}
                answer = msgspec.json.decode(response.read(), type=dict[str, Any])
        except (OSError, HTTPException, msgspec.MsgspecError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        operation = self._recording.add_operation(
            action="raw",
            entity_type=None,
            entity_id=None,
            correlation_id=headers.get("x-correlation-id") or str(uuid.uuid4()),
            arguments={"sent": data[:500].decode("latin-1").replace(self._token, "***")},
            invoked_ns=invoked_ns,
            http_status=http_status,
            answer=answer,
        )
        return operation, headers
