"""`python -m harness.sinks`: ports and the signing key come from the environment."""

from __future__ import annotations

import os
import threading
from http.server import ThreadingHTTPServer

import msgspec

from harness.sinks.inbox import Behaviour, Inbox
from harness.sinks.mail import mail_server
from harness.sinks.webhooks import QuietHandler, webhook_server


def control_server(port: int, inbox: Inbox) -> ThreadingHTTPServer:
    """The door for scenarios: read what came, say how to answer, forget it all."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(200, msgspec.json.encode(inbox.received()))

        def do_POST(self) -> None:
            inbox.behave(msgspec.json.decode(self.body(), type=Behaviour))
            self.answer(204)

        def do_DELETE(self) -> None:
            inbox.clear()
            self.answer(204)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Serve until the process is ended."""
    inbox = Inbox()
    webhooks = webhook_server(int(os.environ["WEBHOOK_PORT"]), inbox, os.environ["WEBHOOK_SECRET"])
    threading.Thread(target=webhooks.serve_forever, daemon=True).start()
    mail_server(int(os.environ["MAIL_PORT"]), inbox).start()
    control_server(int(os.environ["CONTROL_PORT"]), inbox).serve_forever()


if __name__ == "__main__":
    main()
