"""The door for people: ``gauntlet …``. Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 no environment."""

from __future__ import annotations

import signal
import sys

import click

from harness.environment.failures import EnvironmentFailed
from harness.evidence.run_directory import EvidenceError
from harness.target import TargetError

PASS, FAIL, UNKNOWN, USAGE, NO_ENVIRONMENT, INTERRUPTED = 0, 1, 2, 3, 4, 130
BY_VERDICT = {"pass": PASS, "fail": FAIL, "unknown": UNKNOWN}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def gauntlet() -> None:
    """Prove that an event-driven CRM keeps its promises while things break.

    Exit codes: 0 pass, 1 fail, 2 unknown, 3 wrong usage, 4 the environment did not come up.
    """


def main() -> None:
    """Entry point: turns what went wrong into one clear message and the right exit code.

    SIGTERM (of a ``timeout``, of a CI that gives up) is Ctrl-C: what a command has begun ends with it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        gauntlet.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (TargetError, EvidenceError) as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(USAGE)
    except EnvironmentFailed as error:
        click.echo(f"gauntlet: {error}", err=True)
        sys.exit(NO_ENVIRONMENT)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
