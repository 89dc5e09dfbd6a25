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
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from harness.environment.failures import EnvironmentFailed
from harness.environment.folders import cache_folder
from harness.environment.processes import ProcessRecord, marked_environment
from harness.environment.servers import Servers
from harness.target import DatabaseSpec

NAME = "postgres"
SUPERUSER = "gauntlet"

_TEMPLATE_FORMAT = 1
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
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


def record(servers: Servers, *, state_dir: Path, port: int, password: str) -> ProcessRecord:
    """How to run it. A fast shutdown is its proper end: the default one waits for every client to leave."""
    settings = _SETTINGS | {"port": str(port), "unix_socket_directories": str(_folder(state_dir))}
    options = [f"--{name}={value}" for name, value in settings.items()]
    return ProcessRecord(
        name=NAME,
        argv=(str(servers.postgres / "postgres"), "-D", str(_folder(state_dir) / "data"), *options),
        environment=marked_environment(NAME, state_dir, signal.SIGINT),
        cwd=state_dir,
        ready=f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/postgres",
        user=server_user(),
        stop_signal=signal.SIGINT,
    )


def server_user() -> str | None:
    """The server refuses to run as root: then it runs as the package's user, or as nobody."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


def lay_out(servers: Servers, *, state_dir: Path, log: Path) -> str:
    """Make the data folder and return the superuser's password of the moment.

    ``initdb`` takes longer than all the rest together, so that its result is kept and copied. The copy preserves the
    owner: root's cache holds a folder that belongs to the server's user.
    """
    folder = _folder(state_dir)
    folder.mkdir(mode=0o700)
    user = server_user()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    version = ".".join(map(str, servers.postgres_version))
    template = cache_folder("postgres") / f"{version}-{user or os.getuid()}-{_TEMPLATE_FORMAT}"
    if not (template / "data" / "PG_VERSION").exists():
        _make_template(servers, template, state_dir=state_dir, user=user, log=log)
    _copy(template / "data", folder / "data", log=log)
    return (template / "password").read_text(encoding="ascii")


def change_password(*, url: str, password: str) -> None:
    """Give the superuser a password of this stack's own, in place of the template's."""
    with psycopg.connect(url, autocommit=True) as connection:
        _set_password(connection, SUPERUSER, password)


def create_database(
    spec: DatabaseSpec, *, server_url: str, database_url: str, source_root: Path, passwords: Mapping[str, str]
) -> None:
    """Create the database, run the system's own SQL files in it, and let its roles in."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(spec.name)))
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in spec.schema:
            file = source_root / name
            try:
                connection.execute(file.read_text(encoding="utf-8").encode())
            except (OSError, psycopg.Error) as error:
                raise EnvironmentFailed(f"schema file {file}: {error}") from error
        for role, password in passwords.items():
            try:
                _set_password(connection, role, password)
            except psycopg.errors.UndefinedObject:
                files = ", ".join(spec.schema) or "no file"
                raise EnvironmentFailed(
                    f"the target names role {role!r}, but its schema ({files}) makes none"
                ) from None


def _set_password(connection: psycopg.Connection[tuple[object, ...]], role: str, password: str) -> None:
    connection.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)), prepare=False
    )


def _make_template(servers: Servers, template: Path, *, state_dir: Path, user: str | None, log: Path) -> None:
    work = _folder(state_dir) / "template"
    password = secrets.token_urlsafe(18)
    (pwfile := _folder(state_dir) / "pwfile").write_text(password, encoding="ascii")
    pwfile.chmod(0o644)  # inside a folder that only the server's user can enter
    _run(
        [
            str(servers.postgres / "initdb"),
            *("-D", str(work), "-U", SUPERUSER, f"--pwfile={pwfile}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ],
        state_dir=state_dir,
        log=log,
        user=user,
    )
    pwfile.unlink()
    draft = template.with_name(f"{template.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700)
    try:
        _copy(work, draft / "data", log=log)
        (draft / "password").write_text(password, encoding="ascii")
        draft.rename(template)
    except OSError:
        if not template.exists():  # else another stack was quicker, and one template is as good as the other
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(work)


def _copy(source: Path, destination: Path, *, log: Path) -> None:
    _run(["cp", "-a", "--reflink=auto", str(source), str(destination)], state_dir=destination.parent, log=log)


def _run(argv: list[str], *, state_dir: Path, log: Path, user: str | None = None) -> None:
    with log.open("ab") as out:
        done = subprocess.run(
            argv,
            env=marked_environment("initdb", state_dir, signal.SIGKILL),
            cwd=_folder(state_dir) if user else "/",
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            check=False,
        )
    if done.returncode != 0:
        raise EnvironmentFailed(f"{' '.join(argv[:3])} … failed with exit code {done.returncode}", log=log)


def _folder(state_dir: Path) -> Path:
    return state_dir / NAME
