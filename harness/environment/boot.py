"""How a complete private stack comes up and goes away again, on whichever foundation its servers run.

``boot`` lasts as long as a ``with`` block; ``up`` stays until ``down``. The volatile part (data folders, sockets) lies
in a state folder (in memory if there is room), or in containers; the evidence in the run directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from harness.environment import keeper, postgres, proxies, sinks
from harness.environment.choice import foundation as chosen_foundation
from harness.environment.failures import EnvironmentFailed
from harness.environment.foundation import EnvironmentName, Foundation
from harness.environment.owner import Keeper
from harness.environment.plan import database_url, plan, upstreams
from harness.environment.ports import PortLease
from harness.environment.processes import Supervised
from harness.environment.stack import Stack, load_stack, stacks_of
from harness.target import PROJECT_ROOT, Target

OnStep = Callable[[str], None]
_LOOK_EVERY_S = 0.5


@contextmanager
def boot(
    target: Target,
    *,
    run_dir: Path,
    name: str,
    source_root: Path = PROJECT_ROOT,
    environment: EnvironmentName | None = None,
    on_step: OnStep | None = None,
) -> Iterator[Stack]:
    """A stack for as long as the ``with`` block lasts; whatever happens to this process, nothing of it stays.

    ``environment``: this one, whichever is chosen. ``on_step`` is told of progress, from several threads. Raises
    MissingServers or EnvironmentFailed.
    """
    foundation = chosen_foundation(environment)
    with _owned(target, foundation, run_dir, name, source_root, on_step or _unheard) as (stack, _):
        yield stack


def up(
    target: Target, *, run_dir: Path, name: str, source_root: Path = PROJECT_ROOT, on_step: OnStep | None = None
) -> Stack:
    """A stack that stays when this process ends, until ``down``."""
    owned = _owned(target, chosen_foundation(), run_dir, name, source_root, on_step or _unheard)
    with owned as (stack, watch):
        (stack.state_dir / keeper.KEPT).write_text(str(stack.file), encoding="utf-8")
        watch.release()
    return stack


def down(run_dir: Path | None = None) -> list[Path]:
    """End the stacks of a run, or else the newest one that this user keeps up. Says which (their files); maybe none."""
    if run_dir is not None:
        return sweep(run_dir)
    notes = sorted(keeper.state_folders(keeper.KEPT), key=lambda note: -note.stat().st_mtime)
    return [_end_kept(note) for note in notes[:1]]


def sweep(run_dir: Path) -> list[Path]:
    """End whatever stacks of a run still live, also those whose owner crashed. Says which (their files)."""
    living = [stack for stack in stacks_of(run_dir) if stack.state_dir.exists() or stack.running()]
    for stack in living:
        stack.end()
        keeper.remove(stack.state_dir)
    return [stack.file for stack in living]


def leftovers(run_dir: Path) -> dict[int | str, str]:
    """Process or container id → what it is, of everything that stacks of a run started and that is still there."""
    return {pid: f"{stack.name}/{name}" for stack in stacks_of(run_dir) for pid, name in stack.running().items()}


def _unheard(step: str) -> None:
    """Nobody asked."""


@contextmanager
def _owned(
    target: Target, foundation: Foundation, run_dir: Path, name: str, source_root: Path, on_step: OnStep
) -> Iterator[tuple[Stack, Keeper]]:
    """A stack that is up, and ends with the block unless its keeper was released."""
    with closing(PortLease()) as lease, closing(Keeper()) as watch:
        places = {"run_dir": run_dir.resolve(), "state_dir": watch.state_dir, "source_root": source_root.resolve()}
        stack = plan(target, foundation, name=name, take_port=lease.take, **places)
        try:
            _bring_up(target, foundation, stack, lease, on_step)
            yield stack, watch
        finally:
            if not watch.released:
                stack.end()


def _end_kept(note: Path) -> Path:
    """The state folder alone says what to end: a run directory that was deleted meanwhile must not save its stack."""
    file = Path(note.read_text(encoding="utf-8"))
    if file.exists():
        load_stack(file).end()
    keeper.end_everything(note.parent)
    keeper.run_at_end(note.parent)
    keeper.remove(note.parent)
    return file


def _bring_up(target: Target, foundation: Foundation, stack: Stack, lease: PortLease, on_step: OnStep) -> None:
    """Start everything at once, except that services wait for their database and their proxies."""
    for name in stack.services:
        stack.processes[name].prepare()
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(thread_name_prefix=f"boot {stack.name}") as pool:
        try:
            broker = pool.submit(_bring_up_broker, foundation, stack, on_step)
            database = pool.submit(_bring_up_database, target, foundation, stack, on_step)
            between = pool.submit(_bring_up_proxies, target, stack, on_step)
            futures += [broker, database, between, pool.submit(_bring_up_sinks, stack, lease, on_step)]
            _done([database, between], stack)
            futures += [pool.submit(_bring_up_service, stack.processes[name], on_step) for name in stack.services]
            _done(futures, stack)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while wait(futures, timeout=0.05).not_done:  # without their processes they have nothing to wait for
                keeper.end_everything(stack.state_dir, grace_s=0)
                with suppress(EnvironmentFailed):  # what went wrong first is what has to be told
                    stack.clear()
            raise


def _done(futures: list[Future[None]], stack: Stack) -> None:
    """Wait for all, as long as what is up already is still there: whoever is on the way up waits for it in vain."""
    while True:
        done, waiting = wait(futures, timeout=_LOOK_EVERY_S, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if not waiting:
            return
        stack.assert_standing()


def _bring_up_broker(foundation: Foundation, stack: Stack, on_step: OnStep) -> None:
    foundation.start_broker(stack)
    on_step("message broker is ready")


def _bring_up_database(target: Target, foundation: Foundation, stack: Stack, on_step: OnStep) -> None:
    foundation.start_database(stack)
    on_step("database server is ready")
    password = stack.passwords[postgres.SUPERUSER]
    postgres.create_database(
        target.database,
        server_url=database_url(stack.addresses["database"], "postgres", password),
        database_url=stack.database_url,
        source_root=stack.source_root,
        passwords={role: stack.passwords[role] for role in target.database.roles},
    )
    on_step("database has its schema")


def _bring_up_proxies(target: Target, stack: Stack, on_step: OnStep) -> None:
    server = stack.processes[proxies.NAME]
    server.start()
    server.await_ready()
    proxies.populate(
        stack.proxies_url,
        server=stack.proxy_server,
        edges=stack.edges,
        upstreams=upstreams(target, stack),
        log=server.log,
    )
    on_step("proxies are ready")


def _bring_up_sinks(stack: Stack, lease: PortLease, on_step: OnStep) -> None:
    """They inherit the lease of the ports: no fault ends them, so the lease lasts as long as the stack."""
    stack.processes[sinks.NAME].start(keep_open=[lease.fileno()])
    stack.processes[sinks.NAME].await_ready()
    on_step("sinks are ready")


def _bring_up_service(process: Supervised, on_step: OnStep) -> None:
    process.start()
    process.await_ready()
    on_step(f"{process.name} is ready")
