"""The control API: Toxiproxy's (2.12), and beyond it what a wire-aware proxy can do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from chaos.proxy.http_server import Answer, Request
from chaos.proxy.proxies import Proxies, Proxy, Toxic, split_address
from chaos.proxy.toxics import KINDS
from chaos.proxy.toxics.stage import Attributes
from chaos.proxy.triggers import Armed, NamedTrigger, Stream
from chaos.proxy.wire import known_events

VERSION = "gauntlet 1, speaks Toxiproxy 2.12"
WITHIN_MOST_MS = 300_000

Protocol = Literal["amqp", "http", "postgres"]
Toxicity = Annotated[float, msgspec.Meta(ge=0, le=1)]
Body = TypeVar("Body")
Handled = Answer | Awaitable[Answer]


class NewProxy(msgspec.Struct, forbid_unknown_fields=True):
    name: str = ""
    upstream: str = ""
    listen: str = "127.0.0.1:0"
    enabled: bool = True
    protocol: Protocol | None = None


class ProxyUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    upstream: str | None = None
    listen: str | None = None
    enabled: bool | None = None
    protocol: Protocol | msgspec.UnsetType | None = msgspec.UNSET


class NewToxic(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    name: str = ""
    stream: str = "downstream"
    toxicity: Toxicity = 1.0
    attributes: msgspec.Raw = msgspec.Raw(b"{}")


class ToxicUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    type: str | None = None
    stream: str | None = None
    toxicity: Toxicity | None = None
    attributes: dict[str, Any] = {}


class Recording(msgspec.Struct, forbid_unknown_fields=True):
    recording: bool


class Refusal(Exception):
    """A request that cannot be carried out, with the status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """All routes, over one set of proxies."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def handle(self, request: Request) -> Handled:
        if request.user_agent.startswith("Mozilla/"):
            return _refused(403, "no web page may use this: user agent not allowed")
        try:
            return self._route(request)
        except Refusal as refusal:
            return _refused(refusal.status, str(refusal))

    def _route(self, request: Request) -> Handled:
        routes: dict[str, Callable[..., Handled]]
        names: tuple[str, ...]
        match request.path:
            case ("version",):
                routes, names = {"GET": self._version}, ()
            case ("reset",):
                routes, names = {"POST": self._reset}, ()
            case ("populate",):
                routes, names = {"POST": self._populate}, ()
            case ("events",):
                routes, names = {"GET": self._events, "PUT": self._record}, ()
            case ("proxies",):
                routes, names = {"GET": self._list, "POST": self._create}, ()
            case ("proxies", name):
                routes, names = _crud(self._show, self._update, self._delete), (name,)
            case ("proxies", name, "toxics"):
                routes, names = {"GET": self._toxics, "POST": self._add_toxic}, (name,)
            case ("proxies", name, "toxics", toxic):
                routes, names = _crud(self._toxic, self._update_toxic, self._remove_toxic), (name, toxic)
            case ("proxies", name, "seen"):
                routes, names = {"GET": self._seen, "DELETE": self._forget}, (name,)
            case ("proxies", name, "triggers"):
                routes, names = {"GET": self._triggers, "POST": self._arm}, (name,)
            case ("proxies", name, "triggers", trigger):
                routes, names = {"GET": self._trigger, "DELETE": self._disarm}, (name, trigger)
            case _:
                raise Refusal(404, f"there is nothing at /{'/'.join(request.path)}")
        if request.method not in routes:
            raise Refusal(405, f"/{'/'.join(request.path)} knows {', '.join(routes)}, not {request.method}")
        if names:
            return routes[request.method](request, self._proxy(names[0]), *names[1:])
        return routes[request.method](request)

    def _proxy(self, name: str) -> Proxy:
        if name not in self._proxies:
            raise Refusal(404, f"proxy not found: {name!r}; there are: {', '.join(self._proxies) or 'none'}")
        return self._proxies[name]

    # --- the server -------------------------------------------------------------------------------------------------

    def _version(self, request: Request) -> Answer:
        return Answer(200, {"version": VERSION})

    def _reset(self, request: Request) -> Answer:
        names = request.query.get("proxies")
        chosen = [self._proxy(name) for name in names.split(",")] if names else list(self._proxies.values())
        for proxy in chosen:
            proxy.reset_toxics_and_triggers()
            _enable(proxy)
        return Answer(204)

    def _events(self, request: Request) -> Answer:
        return Answer(200, self._proxies.recorder.shown())

    def _record(self, request: Request) -> Answer:
        self._proxies.recorder.switch(_decode(request.body, Recording).recording)
        return Answer(204)

    # --- proxies ----------------------------------------------------------------------------------------------------

    def _list(self, request: Request) -> Answer:
        return Answer(200, {name: proxy.shown() for name, proxy in self._proxies.items()})

    def _create(self, request: Request) -> Answer:
        new = _decode(request.body, NewProxy)
        _check(new)
        if new.name in self._proxies:
            raise Refusal(409, f"proxy already exists: {new.name!r}")
        return Answer(201, self._make(new).shown())

    def _populate(self, request: Request) -> Answer:
        """Proxies that are there already with the same addresses stay as they are; others are made (anew)."""
        asked = _decode(request.body, list[NewProxy])
        for number, new in enumerate(asked, start=1):
            _check(new, where=f" at proxy {number}")
        made = []
        for new in asked:
            there = self._proxies.get(new.name)
            same = there and (there.listen, there.upstream, there.protocol) == (new.listen, new.upstream, new.protocol)
            made.append(there if there and same else self._make(new))
        return Answer(201, {"proxies": [proxy.shown() for proxy in made]})

    def _make(self, new: NewProxy) -> Proxy:
        proxy = self._proxies.make(new.name, listen=new.listen, upstream=new.upstream, protocol=new.protocol)
        if new.enabled:
            try:
                _enable(proxy)
            except Refusal:
                self._proxies.remove(new.name)
                raise
        return proxy

    def _show(self, request: Request, proxy: Proxy) -> Answer:
        return Answer(200, proxy.shown())

    def _update(self, request: Request, proxy: Proxy) -> Answer:
        """Other addresses drop the connections; toxics stay."""
        update = _decode(request.body, ProxyUpdate)
        if update.name not in (None, proxy.name):
            raise Refusal(400, f"a proxy keeps its name: {proxy.name!r}")
        enabled = proxy.enabled if update.enabled is None else update.enabled
        listen, upstream = update.listen or proxy.listen, update.upstream or proxy.upstream
        protocol = proxy.protocol if update.protocol is msgspec.UNSET else update.protocol
        _check(NewProxy(proxy.name, upstream, listen))
        if (listen, upstream, protocol) != (proxy.listen, proxy.upstream, proxy.protocol):
            proxy.lead_elsewhere(listen=listen, upstream=upstream, protocol=protocol)
        if enabled:
            _enable(proxy)
        else:
            proxy.disable()
        return Answer(200, proxy.shown())

    def _delete(self, request: Request, proxy: Proxy) -> Answer:
        self._proxies.remove(proxy.name)
        return Answer(204)

    # --- toxics -----------------------------------------------------------------------------------------------------

    def _toxics(self, request: Request, proxy: Proxy) -> Answer:
        return Answer(200, [toxic.shown() for toxic in proxy.toxics])

    def _add_toxic(self, request: Request, proxy: Proxy) -> Answer:
        new = _decode(request.body, NewToxic)
        if new.type not in KINDS:
            raise Refusal(400, f"invalid toxic type: {new.type!r}; known: {', '.join(KINDS)}")
        stream = _stream(new.stream)
        toxic = Toxic(
            name=new.name or f"{new.type}_{stream}",
            type=new.type,
            stream=stream,
            toxicity=new.toxicity,
            attributes=_decode(bytes(new.attributes), KINDS[new.type].attributes_type),
        )
        if proxy.toxic(toxic.name):
            raise Refusal(409, f"toxic already exists: {toxic.name!r}")
        proxy.add_toxic(toxic)
        return Answer(200, toxic.shown())

    def _toxic(self, request: Request, proxy: Proxy, name: str) -> Answer:
        return Answer(200, _toxic_of(proxy, name).shown())

    def _update_toxic(self, request: Request, proxy: Proxy, name: str) -> Answer:
        """What is not named stays as it is."""
        toxic = _toxic_of(proxy, name)
        update = _decode(request.body, ToxicUpdate)
        for what, said, true in (
            ("name", update.name, toxic.name),
            ("type", update.type, toxic.type),
            ("stream", update.stream, toxic.stream),
        ):
            if said not in (None, true):
                raise Refusal(400, f"the {what} of a toxic cannot be changed: it is {true!r}")
        merged = {**msgspec.to_builtins(toxic.attributes), **update.attributes}
        attributes: Attributes = _decode(msgspec.json.encode(merged), type(toxic.attributes))
        proxy.update_toxic(toxic, attributes, toxic.toxicity if update.toxicity is None else update.toxicity)
        return Answer(200, toxic.shown())

    def _remove_toxic(self, request: Request, proxy: Proxy, name: str) -> Answer:
        proxy.remove_toxic(_toxic_of(proxy, name))
        return Answer(204)

    # --- evidence ---------------------------------------------------------------------------------------------------

    def _seen(self, request: Request, proxy: Proxy) -> Answer:
        return Answer(200, proxy.counts.shown(len(proxy.connections)))

    def _forget(self, request: Request, proxy: Proxy) -> Answer:
        proxy.counts.forget()
        return Answer(204)

    # --- triggers ---------------------------------------------------------------------------------------------------

    def _triggers(self, request: Request, proxy: Proxy) -> Answer:
        return Answer(200, [armed.shown() for armed in proxy.triggers])

    def _arm(self, request: Request, proxy: Proxy) -> Answer:
        trigger = _decode(request.body, NamedTrigger)
        refusal = trigger.refusal(proxy.protocol, known_events(proxy.protocol, trigger.stream))
        if refusal:
            raise Refusal(400, refusal)
        for name in trigger.hold:
            self._proxy(name)
        if proxy.trigger(trigger.name):
            raise Refusal(409, f"trigger already exists: {trigger.name!r}")
        armed = Armed(trigger)
        proxy.arm(armed)
        return Answer(201, armed.shown())

    def _trigger(self, request: Request, proxy: Proxy, name: str) -> Handled:
        armed = _trigger_of(proxy, name)
        within = request.query.get("within_ms", "0")
        if not within.isdecimal() or int(within) > WITHIN_MOST_MS:
            raise Refusal(400, f"within_ms is a number of milliseconds up to {WITHIN_MOST_MS}, not {within!r}")
        return _when_fired(armed, int(within)) if int(within) and not armed.fired else Answer(200, armed.shown())

    def _disarm(self, request: Request, proxy: Proxy, name: str) -> Answer:
        proxy.disarm(_trigger_of(proxy, name))
        return Answer(204)


def _crud(show: Callable[..., Handled], update: Callable[..., Handled], delete: Callable[..., Handled]) -> Any:
    return {"GET": show, "POST": update, "PATCH": update, "DELETE": delete}


async def _when_fired(armed: Armed, within_ms: int) -> Answer:
    happened = asyncio.Event()
    armed.listeners.add(happened.set)
    try:
        async with asyncio.timeout(within_ms / 1000):
            await happened.wait()
    except TimeoutError:
        pass
    finally:
        armed.listeners.discard(happened.set)
    return Answer(200, armed.shown())


def _decode(body: bytes, kind: type[Body]) -> Body:
    """The request's body, or a refusal that says what is known."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        known = msgspec.inspect.type_info(kind)
        if isinstance(known, msgspec.inspect.ListType):
            known = known.item_type
        fields = [field.encode_name for field in known.fields] if isinstance(known, msgspec.inspect.StructType) else []
        raise Refusal(400, f"bad request body: {error}; known: {', '.join(fields)}") from None


def _check(new: NewProxy, *, where: str = "") -> None:
    for field in ("name", "upstream"):
        if not getattr(new, field):
            raise Refusal(400, f"missing required field: {field}{where}")
    try:
        split_address(new.listen), split_address(new.upstream)
    except ValueError as error:
        raise Refusal(400, f"bad request body: {error}{where}") from None


def _enable(proxy: Proxy) -> None:
    try:
        proxy.enable()
    except OSError as error:
        raise Refusal(500, f"cannot listen on {proxy.listen}: {error.strerror or error}") from None


def _stream(name: str) -> Stream:
    if name == "upstream":
        return "upstream"
    if name == "downstream":
        return "downstream"
    raise Refusal(400, f"stream was invalid: {name!r}; known: upstream, downstream")


def _toxic_of(proxy: Proxy, name: str) -> Toxic:
    toxic = proxy.toxic(name)
    if toxic is None:
        there = ", ".join(one.name for one in proxy.toxics)
        raise Refusal(404, f"toxic not found: {name!r}; on {proxy.name}: {there or 'none'}")
    return toxic


def _trigger_of(proxy: Proxy, name: str) -> Armed:
    armed = proxy.trigger(name)
    if armed is None:
        there = ", ".join(one.trigger.name for one in proxy.triggers)
        raise Refusal(404, f"trigger not found: {name!r}; on {proxy.name}: {there or 'none'}")
    return armed


def _refused(status: int, message: str) -> Answer:
    return Answer(status, {"error": message, "status": status})
