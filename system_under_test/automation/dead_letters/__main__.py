"""`python -m system_under_test.automation.dead_letters`: triage on the command line, over the service's HTTP API."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, get_args
from urllib.parse import quote

import httpx

from system_under_test.automation.reasons import Reason

_TIMEOUT_S = 30


def main() -> int:
    given = _arguments().parse_args()
    url, token = os.environ.get("AUTOMATION_URL"), os.environ.get("OPERATOR_TOKEN")
    if not url or not token:
        return _fail("AUTOMATION_URL and OPERATOR_TOKEN have to be set in the environment", code=2)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False) as http:
            return _told(given, _ask(http, given))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _fail(f"automation cannot be reached at AUTOMATION_URL: {error}")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dead_letters",
        description="Look at dead letters, send them round again, or throw them away.",
        epilog="Environment: AUTOMATION_URL (http://host:port), OPERATOR_TOKEN. Exit: 0 done, 1 refused, 2 usage.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="list them, oldest first")
    listing.add_argument("--reason", choices=get_args(Reason), help="only those that died of this")
    commands.add_parser("show", help="show one, with its body").add_argument("event_id")
    for name, what in (("replay", "send round again"), ("discard", "throw away")):
        command = commands.add_parser(name, help=f"{what} one, or all of a reason")
        which = command.add_mutually_exclusive_group(required=True)
        which.add_argument("event_id", nargs="?", help="this one, at once; with --dry-run it is only shown")
        which.add_argument("--reason", choices=get_args(Reason), help="all that died of this; a dry run unless --go")
        doing = command.add_mutually_exclusive_group()
        doing.add_argument(
            "--dry-run", action="store_true", help="only list what would be done (with --reason, the default)"
        )
        doing.add_argument("--go", action="store_true", help=f"with --reason: really {what}")
    return parser


def _ask(http: httpx.Client, given: argparse.Namespace) -> httpx.Response:
    reason = {"reason": given.reason} if getattr(given, "reason", None) else {}
    match given.command:
        case "list":
            return http.get("/dead-letters", params={"limit": "200", **reason})
        case "show":
            return http.get(f"/dead-letters/{quote(given.event_id, safe='')}")
        case command if given.event_id:
            one = f"/dead-letters/{quote(given.event_id, safe='')}"
            return http.get(one) if given.dry_run else http.post(f"{one}/{command}")
        case command:
            return http.post(f"/triage/{command}", params={"dry_run": str(not given.go).lower(), **reason})


def _told(given: argparse.Namespace, response: httpx.Response) -> int:
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        return _fail(f"automation answers {response.status_code} without JSON: is AUTOMATION_URL right?")
    if not response.is_success:
        return _fail(f"{response.status_code} {answer.get('title')}: {answer.get('detail')}")
    items = answer.get("items", [answer])
    for item in items:
        print(json.dumps(item, indent=2 if given.command == "show" else None, ensure_ascii=False))
    if answer.get("dry_run"):
        print(f"dry run: would {given.command} {len(items)}; add --go to do it", file=sys.stderr)
    return 0


def _fail(what: str, code: int = 1) -> int:
    print(f"dead_letters: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
