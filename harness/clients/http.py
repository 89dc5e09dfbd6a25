"""The three services as a client sees them. Every operation is written down, whatever becomes of it."""

from __future__ import annotations

import ssl
import threading
import uuid
from functools import cache
from typing import Any
from urllib.parse import urlencode

import httpx

from harness.evidence.clock import monotonic_ns
from harness.evidence.recording import Recording
from harness.evidence.records import Operation


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: each would read the authorities' certificates anew, which takes longer than all the rest."""
    return httpx.create_ssl_context()


class _Session(threading.local):
    """The session of one client in the thread that asks for it: made anew in each."""

    def __init__(self, recording: Recording) -> None:
        self.name = recording.new_session()


class ServiceClient:
    """A bearer token, one base address, and a recording. Safe to share between threads; close it after use."""

    def __init__(self, base_url: str, token: str, recording: Recording, *, timeout_s: float = 10.0) -> None:
        self.recording = recording
        self._session = _Session(recording)
        self._http = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            verify=tls(),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        )

    def close(self) -> None:
        self._http.close()

    def perform(
        self,
        action: str,
        method: str,
        path: str,
        *,
        entity: tuple[str | None, str | None] = (None, None),
        body: dict[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> Operation:
        """One request, recorded. Never raises for an answer or for silence: the operation's outcome tells."""
        correlation_id = correlation_id or str(uuid.uuid4())
        invoked_ns = monotonic_ns()
        http_status: int | None = None
        flow_told: str | None = None
        answer: dict[str, Any] = {}
        try:
            response = self._http.request(method, path, json=body, headers={"X-Correlation-Id": correlation_id})
            http_status = response.status_code
            flow_told = response.headers.get("X-Correlation-Id", "")
            answer = _object(response)
        except httpx.HTTPError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        return self.recording.add_operation(
            action=action,
            entity_type=entity[0],
            entity_id=entity[1],
            correlation_id=correlation_id,
            arguments=body or {},
            invoked_ns=invoked_ns,
            http_status=http_status,
            answer=answer,
            session=self._session.name,
            flow_told=flow_told,
        )


class CrmClient(ServiceClient):
    """Users, leads and deals."""

    def create_lead(self, *, email: str | None = None, external_id: str | None = None) -> Operation:
        """``answer["id"]`` is the new lead's id. Without an e-mail, one that nobody else has."""
        body: dict[str, Any] = {"name": "Ada Example", "email": email or f"{uuid.uuid4().hex}@example.test"}
        if external_id is not None:
            body["external_id"] = external_id
        return self.perform("create_lead", "POST", "/leads", entity=("lead", None), body=body)

    def create_deal(self, lead_id: str) -> Operation:
        return self.perform("create_deal", "POST", "/deals", entity=("deal", None), body={"lead_id": lead_id})

    def change_lead(self, lead_id: str, **change: Any) -> Operation:
        """Name, phone, owner_id; expected_version makes it conditional."""
        return self.perform("change_lead", "PATCH", f"/leads/{lead_id}", entity=("lead", lead_id), body=change)

    def users(self, role: str) -> list[str]:
        """Ids of the active ones."""
        items = self.perform("read", "GET", f"/users?role={role}&active=true").answer["items"]
        return [str(user["id"]) for user in items]

    def set_active(self, user_id: str, active: bool) -> Operation:
        return self.perform("change_user", "PATCH", f"/users/{user_id}", body={"active": active})

    def lead(self, lead_id: str) -> Operation:
        return self.perform("read", "GET", f"/leads/{lead_id}", entity=("lead", lead_id))

    def leads(self, *, limit: int) -> list[str]:
        """Ids of all leads as the service lists them, page by page. A page that leads back to itself is the last."""
        ids: list[str] = []
        after: str | None = None
        while True:
            came_from = after
            path = f"/leads?limit={limit}" + (f"&after={after}" if after else "")
            answer = self.perform("read", "GET", path).answer
            ids += [str(lead["id"]) for lead in answer["items"]]
            after = answer["next"]
            if after in (None, came_from):
                return ids

    def deals_of(self, lead_id: str) -> list[dict[str, Any]]:
        """The lead's deals, as the service lists them."""
        items: list[dict[str, Any]] = self.perform("read", "GET", f"/deals?lead_id={lead_id}").answer["items"]
        return items


class PipelineClient(ServiceClient):
    """Stages of leads and deals."""

    def move_lead(self, lead_id: str, stage: str, *, expected_version: int | None = None) -> Operation:
        body = _move(stage, expected_version)
        return self.perform("move_stage", "PATCH", f"/leads/{lead_id}/stage", entity=("lead", lead_id), body=body)

    def move_deal(self, deal_id: str, stage: str, *, expected_version: int | None = None) -> Operation:
        body = _move(stage, expected_version)
        return self.perform("move_stage", "PATCH", f"/deals/{deal_id}/stage", entity=("deal", deal_id), body=body)

    def history_of(self, lead_id: str) -> list[dict[str, Any]]:
        """The lead's changes, as the service lists them."""
        items: list[dict[str, Any]] = self.perform("read", "GET", f"/leads/{lead_id}/history").answer["items"]
        return items

    def stage_of(self, lead_id: str) -> Operation:
        return self.perform("read", "GET", f"/leads/{lead_id}/stage", entity=("lead", lead_id))


class AutomationClient(ServiceClient):
    """Dead letters, for an operator."""

    def dead_letters(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.perform("read", "GET", "/dead-letters").answer["items"]
        return items

    def replay(self, event_id: str) -> Operation:
        return self.perform("replay", "POST", f"/dead-letters/{event_id}/replay")

    def discard(self, event_id: str) -> Operation:
        return self.perform("discard", "POST", f"/dead-letters/{event_id}/discard")

    def for_all(self, action: str, reason: str, **query: str) -> Operation:
        """Replay or discard all that died of a reason; without ``dry_run="false"`` they are only listed."""
        path = f"/triage/{action}?{urlencode({'reason': reason, **query})}"
        return self.perform(action if query else "read", "POST", path)


def _move(stage: str, expected_version: int | None) -> dict[str, Any]:
    return {"stage": stage} | ({} if expected_version is None else {"expected_version": expected_version})


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {"text": response.text[:500]}
    return value if isinstance(value, dict) else {"value": value}
