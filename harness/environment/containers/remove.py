"""Remove all containers of a stack. A program of its own, for the stack's keeper: ``python remove.py LABEL=VALUE``.

It asks until two looks find nothing, for an engine may still be busy making what its dead client has asked for; and
where the engine does not answer, it waits for it to come back. After ten minutes it gives up: ``gauntlet doctor
--sweep`` ends what is left.
"""

from __future__ import annotations

import sys
import time

import docker
import requests
from docker.errors import DockerException

GIVE_UP_AFTER_S = 600.0
_LOOK_EVERY_S = 0.5


def remove(client: docker.DockerClient, label: str) -> int:
    """Remove what has the label, with its volumes; how many there were, those that are just going included."""
    found = client.api.containers(all=True, filters={"label": label})
    for one in found:
        try:
            client.api.remove_container(one["Id"], v=True, force=True)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):  # gone, or somebody else is at it
                raise
    return len(found)


def main() -> None:
    """Until there is nothing left, or the time is over."""
    label, give_up_at, quiet = sys.argv[1], time.monotonic() + GIVE_UP_AFTER_S, 0
    while quiet < 2 and time.monotonic() < give_up_at:
        try:
            quiet = 0 if remove(docker.from_env(timeout=30), label) else quiet + 1
        except (DockerException, requests.RequestException):
            quiet = 0
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    main()
