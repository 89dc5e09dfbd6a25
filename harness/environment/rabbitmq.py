"""A private RabbitMQ node, with an epmd of its own so that it neither uses nor leaves behind the machine's.

The node boots in half the time when its code path holds only the applications it needs: Erlang looks every module up
folder by folder, and the package brings seventy. So the node gets a home made of links.

The firehose is on from the start: every message that is published or delivered is copied to ``amq.rabbitmq.trace``,
to which a tap may bind a queue. A queue bound to the system's own exchange would make unroutable messages routable,
and so blind the mandatory flag that the system relies on.

Known of a kill -9 of this broker (3.10): it registers a quorum queue on disk up to three seconds after it declared it,
and a queue that is not registered comes back empty and never elects a leader. After any restart the queues elect their
leaders within 0.6 s, and until then the firehose drops the copies for a quorum queue.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from harness.environment.processes import ProcessRecord, plain_environment
from harness.environment.servers import Servers

NAME = "rabbitmq"
EPMD = "epmd"
USER = "gauntlet"
VHOST = "gauntlet"
NODE = "gauntlet@localhost"
MEMORY_LIMIT = "1GB"
MEMORY_LIMIT_BYTES = 1_000_000_000

_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
num_acceptors.tcp = 4
default_vhost = {vhost}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = {memory}
log.console = true
log.console.level = info
log.file = false
"""
_ADVANCED = '[{{rabbit, [{{trace_vhosts, [<<"{vhost}">>]}}]}}].\n'
_NO_SPINNING = "+sbwt none +sbwtdcpu none +sbwtdio none"
_ERLANG = f"-start_epmd false -kernel inet_dist_use_interface {{127,0,0,1}} {_NO_SPINNING}"
ERLANG_IN_A_CONTAINER = (
    f'{_NO_SPINNING} -rabbit trace_vhosts [<<"{VHOST}">>]'
    f" -rabbit vm_memory_high_watermark {{absolute,{MEMORY_LIMIT_BYTES}}} -rabbit disk_free_limit 50000000"
)
"""What is configured here by files, as words of the command line: they hold in any image, from its first moment on."""


def epmd_record(servers: Servers, *, state_dir: Path, epmd_port: int) -> ProcessRecord:
    """The port mapper that the node insists on, as a plain child of ours."""
    return ProcessRecord(
        name=EPMD,
        argv=(str(servers.epmd), "-address", "127.0.0.1", "-port", str(epmd_port)),
        environment=plain_environment(state_dir),
        cwd=state_dir,
        ready=f"tcp://127.0.0.1:{epmd_port}",
    )


def record(servers: Servers, *, state_dir: Path, port: int, node_port: int, epmd_port: int, url: str) -> ProcessRecord:
    """How to run it. RUNNING_UNDER_SYSTEMD makes the script become the node, in place of a shell that waits for it."""
    folder = state_dir / NAME
    environment = {
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(node_port),
        "RABBITMQ_SCRIPTS_DIR": str(folder / "sbin"),
        "RABBITMQ_PLUGINS_DIR": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
    }
    return ProcessRecord(
        name=NAME,
        argv=(str(servers.rabbitmq),),
        environment=plain_environment(folder) | environment,
        cwd=folder,
        ready=url,
    )


def lay_out(servers: Servers, *, state_dir: Path, port: int, password: str) -> None:
    """Write the node's home: cookie, configuration, links to the applications it needs."""
    folder = state_dir / NAME
    for name in (".", "data", "log", "plugins"):
        (folder / name).mkdir(mode=0o700)
    cookie = folder / ".erlang.cookie"
    cookie.write_text(secrets.token_hex(20), encoding="ascii")
    cookie.chmod(0o400)
    values = {"port": port, "memory": MEMORY_LIMIT, "vhost": VHOST, "user": USER, "password": password}
    (folder / "rabbitmq.conf").write_text(_CONFIG.format(**values), encoding="ascii")
    (folder / "advanced.config").write_text(_ADVANCED.format(**values), encoding="ascii")
    (folder / "environment.conf").touch()
    (folder / "enabled_plugins").write_text("[].\n", encoding="ascii")
    home = servers.rabbitmq.resolve().parent.parent
    (folder / "sbin").symlink_to(home / "sbin")
    (folder / "escript").symlink_to(home / "escript")
    for application in _needed(home / "plugins"):
        (folder / "plugins" / application.name).symlink_to(application)


def _needed(plugins: Path) -> list[Path]:
    """The folders of ``rabbit`` and of every application that it depends on; all of them where that cannot be told."""
    folders = {path.name.rpartition("-")[0]: path for path in plugins.iterdir() if path.is_dir()}
    needed: dict[str, Path] = {}
    todo = ["rabbit"]
    while todo:
        name = todo.pop()
        if name in needed or name not in folders:  # Erlang's own applications lie elsewhere
            continue
        needed[name] = folders[name]
        try:
            description = (folders[name] / "ebin" / f"{name}.app").read_text(encoding="utf-8")
        except OSError:
            return list(plugins.iterdir())
        for group in re.findall(r"\{\s*(?:optional_)?applications\s*,\s*\[(.*?)\]", description, re.DOTALL):
            todo += re.findall(r"\w+", group)
    return list(needed.values()) or list(plugins.iterdir())
