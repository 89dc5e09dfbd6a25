"""The proxy server, with one proxy for each edge of the target, so that each arrow can be faulted by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from harness.environment.failures import EnvironmentFailed
from harness.environment.processes import ProcessRecord, plain_environment
from harness.environment.servers import Servers

NAME = "toxiproxy"


def record(servers: Servers, *, state_dir: Path, port: int) -> ProcessRecord:
    """How to run it."""
    return ProcessRecord(
        name=NAME,
        argv=(str(servers.toxiproxy), "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"),
        environment=plain_environment(state_dir),
        cwd=state_dir,
        ready=f"http://127.0.0.1:{port}/version",
    )


def proxy_name(edge: str) -> str:
    """An edge's name as it is written in a URL."""
    return edge.replace("→", "-to-")


def populate(url: str, *, edges: Mapping[str, str], upstreams: Mapping[str, str], log: Path) -> None:
    """Create the proxy of every edge. Both mappings are edge → host:port: where it listens, and where it leads."""
    proxies = [
        {"name": proxy_name(edge), "listen": listen, "upstream": upstreams[edge], "enabled": True}
        for edge, listen in edges.items()
    ]
    with httpx.Client(trust_env=False, verify=False, timeout=5) as client:
        answer = client.post(f"{url}/populate", json=proxies)
    if answer.status_code != httpx.codes.CREATED:
        raise EnvironmentFailed(f"toxiproxy made no proxies: {answer.status_code} {answer.text[:500]}", log=log)
