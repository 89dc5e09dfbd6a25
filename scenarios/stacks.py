"""One stack for all scenarios of a worker, replaced when a scenario has left it unfit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import MappingProxyType, TracebackType

from harness.checks.judge import ScenarioVerdict
from harness.clients.broker import Broker
from harness.environment.boot import boot
from harness.environment.external import attach
from harness.environment.renewal import renew
from harness.environment.stack import Stack
from harness.evidence.clock import wall_now
from harness.evidence.recording import Recording
from harness.evidence.run_directory import RunDirectory
from harness.target import Target
from scenarios.boot_turns import turn_to_boot
from scenarios.world import World


class Stacks:
    """Boots on first use. ``retire`` ends the present stack: a red scenario may have left work in it.

    ``breaks_broker``: what is seen of messages has to outlive the broker. ``planted`` (scenario → folder): these meet
    other code, with a bug in it. They are to be red, so their stack is used on, with everything on it made anew.
    """

    def __init__(
        self,
        target: Target,
        run: RunDirectory,
        *,
        worker: str,
        source_root: Path,
        destructive: bool = False,
        breaks_broker: bool = True,
        planted: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self.target = target
        self._destructive, self._breaks_broker = destructive, breaks_broker
        self._run, self._worker, self._source_root, self._planted = run, worker, source_root, planted
        self._used = False
        self._number = 0
        self._since = ""
        self._stack: Stack | None = None
        self._up = ExitStack()

    def __enter__(self) -> Stacks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.retire()

    def current(self, scenario: str = "") -> tuple[Stack, str]:
        """The stack that is up for a scenario, and the moment from which its log belongs to that.

        Raises EnvironmentFailed when none can be booted, or when its servers have gone since.
        """
        source_root = self._planted.get(scenario) or self._planted.get(scenario.partition("[")[0], self._source_root)
        if self._planted and self._stack is not None and self._used:
            self._since = renew(self._stack, self.target, source_root)
            self._open_tap(self._stack)
        if self._stack is None:
            self._number += 1
            name = f"{self._worker}-{self._number}"
            coming_up = self._coming_up(name, source_root)
            with turn_to_boot(self._run.root):
                self._stack = self._up.enter_context(coming_up)
            self._since = wall_now() if self.target.external else ""
            if "tap" not in self._stack.lacks:
                self._open_tap(self._stack)
        self._used = True
        self._stack.assert_standing()
        return self._stack, self._since

    def _open_tap(self, stack: Stack) -> None:
        with closing(Broker(stack.broker_url, self.target, Recording(), tap=stack.tap)) as broker:
            broker.open_tap(lasting=self._breaks_broker)
        if self.target.external:
            self._up.callback(broker.close_tap)

    def _coming_up(self, name: str, source_root: Path) -> AbstractContextManager[Stack]:
        if self.target.external:
            return attach(self.target, run_dir=self._run.root, name=name, destructive=self._destructive)
        return boot(self.target, run_dir=self._run.root, name=name, source_root=source_root)

    def conclude(self, world: World, error: str | None) -> ScenarioVerdict:
        """The verdict on a scenario that has ended. Unless it is green, its stack is not used again.

        Raises EnvironmentFailed where the stack itself has gone: that is nobody's verdict.
        """
        green = False
        try:
            world.stack.assert_standing()
            verdict = world.conclude(error)
            green = verdict.verdict == "pass"
        finally:
            if green:
                self._since = world.until  # what is logged from now on belongs to the next one
            elif not self._planted:
                self.retire()
        return verdict

    def retire(self) -> None:
        """End the present stack, if there is one."""
        self._stack, self._used = None, False
        self._up.close()
        self._up = ExitStack()
