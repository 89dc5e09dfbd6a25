"""The fault proxy as a program: ``python -m chaos.proxy --port 8474``. Ends at once with SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import resource
import signal
import sys

from chaos.proxy.api import Api
from chaos.proxy.http_server import HttpServer
from chaos.proxy.proxies import Proxies


async def serve(host: str, port: int, seed: str) -> None:
    """Answer the control API, until the process is told to end."""
    loop = asyncio.get_running_loop()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # two for each connection
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    api = Api(Proxies(seed))
    await loop.create_server(lambda: HttpServer(api.handle), host, port, reuse_address=True)
    gc.freeze()
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos.proxy", description=__doc__)
    parser.add_argument("--host", "-host", default="127.0.0.1")
    parser.add_argument("--port", "-port", type=int, default=8474, help="of the control API (default: 8474)")
    parser.add_argument("--seed", "-seed", help="of all that is drawn (default: drawn)")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else str(random.SystemRandom().randrange(1_000_000))
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(serve(asked.host, asked.port, seed))
    except OSError as error:
        sys.exit(f"chaos.proxy: cannot listen on {asked.host}:{asked.port}: {error}")


def _loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed: twice as fast."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.new_event_loop()
    return new_event_loop()


if __name__ == "__main__":
    main()
