"""The proxy server, with one proxy for each edge of the target, so that each arrow can be faulted by itself.

There are two of them: the wire-aware fault proxy of this project, which can also act at an event of the protocol, and
Toxiproxy's own server, which is there to be compared with. GAUNTLET_PROXY chooses.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from harness.environment.failures import EnvironmentFailed
from harness.environment.processes import ProcessRecord, plain_environment
from harness.environment.servers import ProxyServer
from harness.target import PROJECT_ROOT

NAME = "proxies"
_PROTOCOLS = {"database": "postgres", "broker": "amqp", "mail": None}


def record(*, state_dir: Path, port: int, server: ProxyServer, toxiproxy: Path | None, seed: int = 0) -> ProcessRecord:
    """How to run it. ``toxiproxy``: the other one's program. ``seed``: of whatever chance decides in it."""
    address = ("-host", "127.0.0.1", "-port", str(port))
    ours = (sys.executable, "-m", "chaos.proxy", *address, "-seed", str(seed))
    theirs = (str(toxiproxy), *address, "-proxy-metrics")
    return ProcessRecord(
        name=NAME,
        argv=ours if server == "wire" else theirs,
        environment=plain_environment(state_dir),
        cwd=PROJECT_ROOT,
        ready=f"http://127.0.0.1:{port}/version",
    )


def proxy_name(edge: str) -> str:
    """An edge's name as it is written in a URL."""
    return edge.replace("→", "-to-")


def populate(
    url: str, *, server: ProxyServer, edges: Mapping[str, str], upstreams: Mapping[str, str], log: Path
) -> None:
    """Create the proxy of every edge. Both mappings are edge → host:port: where it listens, and where it leads."""
    proxies = [
        {"name": proxy_name(edge), "listen": listen, "upstream": upstreams[edge], "enabled": True}
        | ({"protocol": protocol_of(edge)} if server == "wire" else {})
        for edge, listen in edges.items()
    ]
    with httpx.Client(trust_env=False, verify=False, timeout=5) as client:
        answer = client.post(f"{url}/populate", json=proxies)
    if answer.status_code != httpx.codes.CREATED:
        raise EnvironmentFailed(f"the proxies could not be made: {answer.status_code} {answer.text[:500]}", log=log)


def protocol_of(edge: str) -> str | None:
    """What is spoken on an edge; None where nobody reads along."""
    return _PROTOCOLS.get(edge.rpartition("→")[2], "http")
