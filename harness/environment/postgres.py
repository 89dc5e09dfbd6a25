"""A private PostgreSQL: one database on one port, whose data is thrown away with the stack.

``fsync`` is off: a kill -9 of the server loses nothing by that (the kernel keeps what was written), only a power cut
would. ``synchronous_commit`` stays on, so that a commit which was answered is one.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import psycopg
from psycopg import sql

from harness.environment.failures import EnvironmentFailed
from harness.environment.folders import cache_folder
from harness.environment.processes import ProcessRecord, plain_environment, run_to_end
from harness.environment.servers import Servers
from harness.target import DatabaseSpec

NAME = "postgres"
SUPERUSER = "gauntlet_admin"

_TEMPLATE_FORMAT = 1
_INITDB = (
    *("-U", SUPERUSER, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
    *("--auth-local=trust", "--auth-host=scram-sha-256"),
)
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a kill -9 leaves nothing in /dev/shm
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %u@%d ",
    "lc_messages": "C",
}


def record(servers: Servers, *, state_dir: Path, port: int) -> ProcessRecord:
    """How to run it. A fast shutdown is its proper end: the default one waits for every client to leave.

    It is asked whether it is ready over its socket, which lets anyone in who may enter the folder: us and itself.
    """
    folder = state_dir / NAME
    own = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": str(folder)}
    return ProcessRecord(
        name=NAME,
        argv=(str(servers.postgres / "postgres"), "-D", str(folder / "data"), *options(SETTINGS | own)),
        environment=plain_environment(folder),
        cwd=folder,
        ready=f"postgresql://{SUPERUSER}@/postgres?{urlencode({'host': folder, 'port': port})}",
        user=server_user(),
        stop_signal=signal.SIGINT,
    )


def server_user() -> str | None:
    """The server refuses to run as root: then it runs as the package's user, or as nobody."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


def lay_out(servers: Servers, *, state_dir: Path, log: Path) -> None:
    """Make the data folder.

    ``initdb`` takes longer than all the rest together, so its result is kept and copied. The copy preserves the
    owner: root's cache holds a folder that belongs to the server's user.
    """
    folder = state_dir / NAME
    folder.mkdir(mode=0o700)
    user = server_user()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    version = ".".join(map(str, servers.postgres_version))
    template = cache_folder("postgres") / f"{version}-{user or os.getuid()}-{_TEMPLATE_FORMAT}"
    run = partial(run_to_end, name=NAME, state_dir=state_dir, log=log)
    if not template.exists():
        run([str(servers.postgres / "initdb"), "-D", str(folder / "fresh"), *_INITDB], cwd=folder, user=user)
        _keep(folder / "fresh", template, run)
    run(["cp", "-a", "--reflink=auto", str(template), str(folder / "data")])


def set_password(*, url: str, role: str, password: str) -> None:
    """Let a role in over TCP."""
    change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change)


def create_database(
    spec: DatabaseSpec, *, server_url: str, database_url: str, source_root: Path, passwords: Mapping[str, str]
) -> None:
    """Create the database, run the system's own SQL files in it, and let its roles in."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(spec.name)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        for file in (source_root / name for name in spec.schema):
            try:
                connection.execute(file.read_bytes())
            except (OSError, psycopg.Error) as error:
                raise EnvironmentFailed(f"schema file {file}: {error}") from error
    for role, password in passwords.items():
        try:
            set_password(url=server_url, role=role, password=password)
        except psycopg.errors.UndefinedObject:
            files = ", ".join(spec.schema) or "no file at all"
            raise EnvironmentFailed(
                f"the target names the role {role!r}, but its schema makes none ({files})"
            ) from None


def drop_database(spec: DatabaseSpec, *, server_url: str) -> None:
    """Remove what ``create_database`` has made; whoever is connected is thrown out."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(spec.name)))
        for role in spec.roles:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def options(settings: Mapping[str, str]) -> list[str]:
    """Settings as words of the server's command line."""
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def _keep(fresh: Path, template: Path, run: Callable[[list[str]], None]) -> None:
    """Move a fresh data folder into the cache, whole or not at all."""
    draft = template.with_name(f"{template.name}.{secrets.token_hex(4)}")
    try:
        run(["cp", "-a", str(fresh), str(draft)])
        draft.rename(template)
    except OSError:
        if not template.exists():  # else another stack was quicker, and one template is as good as the other
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(fresh)
