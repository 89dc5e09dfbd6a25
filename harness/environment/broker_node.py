"""What only the administrator of the private RabbitMQ node can do to it.

By ``erl_call``, which comes with Erlang and takes 3 ms; where it is not found, by ``rabbitmqctl eval``, which starts an
Erlang of its own first and takes a third of a second and more. Either lets the node evaluate an expression.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.environment.failures import EnvironmentFailed
from harness.environment.processes import Supervised
from harness.environment.rabbitmq import MEMORY_LIMIT, NODE, USER, VHOST
from harness.environment.waiting import eventually
from harness.evidence.records import Topology

_WITHIN_S = 30.0
_calls = itertools.count()
_ERL_CALL = (
    "/usr/lib/erlang/bin/erl_call",
    "/opt/erlang/lib/erlang/lib/erl_interface-*/bin/erl_call",
    "/usr/local/lib/erlang/lib/erl_interface-*/bin/erl_call",
)
"""Where packages and images put it that do not put it on the search path."""
_POLICY = "gauntlet"
_NO_LIMIT = 1_000_000
_NO_SUCH_POLICY = '{error_string,"Parameterdoesnotexist"}'
_TOPOLOGY = """\
Plain=fun(L)->maps:from_list([case E of{K,_,V}->{K,V};_->E end||E<-L]) end,
Name=fun(R)->element(4,R) end,
base64:encode_to_string(rabbit_json:encode(#{
queues=>[#{
name=>Name(amqqueue:get_name(Q)),durable=>amqqueue:is_durable(Q),
passing=>amqqueue:is_auto_delete(Q) orelse amqqueue:get_exclusive_owner(Q)=/=none,
declared=>Plain(amqqueue:get_arguments(Q)),
policy=>case rabbit_policy:effective_definition(Q) of undefined->#{};P->Plain(P) end}
||Q<-rabbit_amqqueue:list(VHOST)],
exchanges=>[#{name=>Name(element(2,X)),durable=>element(4,X)}||X<-rabbit_exchange:list(VHOST)],
bindings=>[#{exchange=>Name(X),routing_key=>K,queue=>Name(Q)}
||{binding,X,K,Q,_}<-rabbit_binding:list(VHOST),element(3,Q)=:=queue],
consumers=>[#{
queue=>Name(proplists:get_value(queue_name,C)),tag=>proplists:get_value(consumer_tag,C),
acknowledges=>proplists:get_value(ack_required,C),prefetch=>proplists:get_value(prefetch_count,C)}
||C<-rabbit_amqqueue:consumers_all(VHOST)]}))"""


@dataclass(frozen=True, slots=True)
class BrokerNode:
    """May be asked as long as the node runs."""

    process: Supervised

    def evaluate(self, expression: str) -> str:
        """What the node makes of an Erlang expression, without blanks. Raises EnvironmentFailed for an exception."""
        program = self.process.find_beside("erl_call", *_ERL_CALL)
        if program:  # it reads the cookie from its HOME, which is the node's
            # A name of its own for each call: of two with one name at a time the node lets only the first in, and the
            # names that erl_call draws for itself (-r) are those of whoever draws in the same moment.
            name = f"gauntlet-{os.getpid()}-{next(_calls)}"
            command, told = [program, "-h", name, "-n", NODE, "-e"], f"{expression}.\n"
        else:
            scripts = self.process.record.environment.get("RABBITMQ_SCRIPTS_DIR")
            ctl = f"{scripts}/rabbitmqctl" if scripts else "rabbitmqctl"
            command, told = [ctl, "-n", NODE, "eval", f"{expression}."], ""
        done = self.process.run_beside(command, told=told, within_s=_WITHIN_S)
        said = re.sub(r"\s+", "", done.said) if not done.exit_code else ""
        if program:
            said = said.removeprefix("{ok,").removesuffix("}") if said.startswith("{ok,") else ""
        if not said:
            raise EnvironmentFailed(f"{NODE} did not evaluate {expression}: {(done.said + done.complained).strip()}")
        return said

    def set_memory_alarm(self, *, on: bool) -> None:
        """Let the node believe that it has used up its memory: it then stops to read from whoever publishes."""
        limit = "1" if on else f'"{MEMORY_LIMIT}"'
        self.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({{absolute,{limit}}})")
        eventually(
            lambda: self.has_alarm() is on, within_s=5, describe=f"the memory alarm to be {'on' if on else 'off'}"
        )

    def has_alarm(self) -> bool:
        """Whether it has stopped to read from publishers, for whatever reason."""
        return self.evaluate("rabbit_alarm:get_alarms()") != "[]"

    def blocked_connections(self) -> int:
        """Connections that want to publish and are not read from."""
        states = self.evaluate("[S||[{state,S}]<-rabbit_networking:connection_info_all([state])]")
        return states.strip("[]").split(",").count("blocked")

    def close_connections(self, named: str = "") -> int:
        """Close all connections whose name begins so, as an administrator does; how many there were."""
        return int(
            self.evaluate(
                "Named=[P||[{pid,P},{client_properties,C}]<-rabbit_networking:connection_info_all([pid,client_properties]),"
                '{_,_,N}<-[lists:keyfind(<<"connection_name">>,1,C)],'
                f'lists:prefix("{named}",binary_to_list(N))],'
                '[rabbit_networking:close_connection(P,"closed by gauntlet")||P<-Named],length(Named)'
            )
        )

    def bindings(self, exchange: str, queue: str) -> set[str]:
        """The routing keys by which an exchange leads to a queue; none, if either is not there."""
        to_queue = f"rabbit_binding:list_for_destination({{resource,{_text(VHOST)},queue,{_text(queue)}}})"
        keys = self.evaluate(f"[K||{{binding,{{resource,_,exchange,{_text(exchange)}}},K,_,_}}<-{to_queue}]")
        return set(_texts(keys))

    def topology(self) -> Topology:
        """Its queues, exchanges, bindings and consumers, as they are now."""
        # As one text of harmless characters: of anything longer than 32 bytes erl_call shows only the beginning.
        told = self.evaluate(_TOPOLOGY.replace("VHOST", _text(VHOST)).replace("\n", " "))
        found: dict[str, Any] = json.loads(base64.b64decode(told.replace('"', "")))
        queues = [queue | {"arguments": _in_force(queue["declared"], queue["policy"])} for queue in found["queues"]]
        return msgspec.convert(found | {"queues": queues}, Topology)

    def make_virtual_host_anew(self) -> None:
        """Remove our virtual host with all that is in it, and make it again, its firehose on."""
        host, user = _text(VHOST), _text(USER)
        said = self.evaluate(
            f"rabbit_vhost:delete({host},{user}),rabbit_vhost:add({host},{user}),"
            f'All= <<".*">>,rabbit_auth_backend_internal:set_permissions({user},{host},All,All,All,{user}),'
            f"rabbit_trace:start({host}),ok"
        )
        if said != "ok":
            raise EnvironmentFailed(f"{NODE} does not make the virtual host anew: {said}")

    def make_anew(self, queue: str) -> None:
        """Delete a queue, wait until its consumers are told, and declare it again with its arguments and bindings.

        Without that wait they are sometimes never told: to their channel it is the same queue as before.
        """
        said = self.evaluate(
            f"Name={{resource,{_text(VHOST)},queue,{_text(queue)}}},{{ok,Queue}}=rabbit_amqqueue:lookup(Name),"
            f"Bindings=rabbit_binding:list_for_destination(Name),User= {_text(USER)},"
            "Consumed=fun(Channel)->catch rabbit_channel:info(Channel,[consumer_count])end,"
            "Channels=lists:usort([element(1,Consumer)||Consumer<-rabbit_amqqueue:consumers(Queue)]),"
            "Before=[{Channel,Consumed(Channel)}||Channel<-Channels],"
            "{ok,_}=rabbit_amqqueue:delete(Queue,false,false,User),"
            "Told=fun Again({Channel,Count},Looks)when Looks>0->case Consumed(Channel)of "
            "Count->timer:sleep(1),Again({Channel,Count},Looks-1);_->ok end end,"
            "[ok=Told(One,5000)||One<-Before],"
            "Arguments=amqqueue:get_arguments(Queue),"
            "element(1,rabbit_amqqueue:declare(Name,true,false,Arguments,none,User)),"
            "lists:foreach(fun(Binding)->rabbit_binding:add(Binding,User)end,Bindings)"
        )
        if said != "ok":
            raise EnvironmentFailed(f"{NODE} does not make {queue} anew: {said}")

    def limit_queue(self, queue: str, *, max_length: int) -> None:
        """From so many ready messages on, let the queue refuse more: whoever publishes gets a nack."""
        definition = _text(json.dumps({"max-length": max_length, "overflow": "reject-publish"}))
        names = f"{_text(VHOST)},{_text(_POLICY)},{_text(f'^{re.escape(queue)}$')}"
        said = self.evaluate(f'rabbit_policy:parse_set({names},{definition},<<"0">>,<<"queues">>,{_text(USER)})')
        if said != "ok":
            raise EnvironmentFailed(f"{NODE} refuses a limit of {max_length} messages for {queue}: {said}")

    def unlimit(self, queue: str) -> None:
        """Take its limit away. Harmless if there is none.

        First it is raised: where a limit is only taken away, the channels that were refused are never told
        (https://github.com/rabbitmq/rabbitmq-server/issues/12206).
        """
        self.limit_queue(queue, max_length=_NO_LIMIT)
        said = self.evaluate(f"rabbit_policy:delete({_text(VHOST)},{_text(_POLICY)},{_text(USER)})")
        if said not in ("ok", _NO_SUCH_POLICY):
            raise EnvironmentFailed(f"{NODE} does not take the limit of {queue} away: {said}")


def _in_force(declared: dict[str, Any], policy: dict[str, Any]) -> dict[str, Any]:
    """What a queue says of itself comes first, but of two limits the lower one counts."""
    arguments = {name.removeprefix("x-"): value for name, value in declared.items()}
    limits = {name: min(value, arguments.get(name, value)) for name, value in policy.items() if isinstance(value, int)}
    return policy | arguments | limits


def _texts(told: str) -> list[str]:
    """The binaries in what the node told: ``<<"text">>``, or as erl_call writes them, ``#Bin<116,101,120,116>``."""
    quoted = re.findall(r'<<"(.*?)">>', told)
    return quoted + [bytes(map(int, codes.split(","))).decode() for codes in re.findall(r"#Bin<([\d,]+)>", told)]


def _text(text: str) -> str:
    """As an Erlang binary."""
    return f"<<{json.dumps(text)}>>"
