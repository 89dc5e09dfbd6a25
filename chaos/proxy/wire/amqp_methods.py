"""The methods of AMQP 0-9-1 and of RabbitMQ's extensions to it, with the names under which they are told.

From the specification: https://www.rabbitmq.com/resources/specs/amqp0-9-1.extended.xml
"""

from __future__ import annotations

_CLASSES = {
    (10, "connection"): {
        10: "start", 11: "start-ok", 20: "secure", 21: "secure-ok", 30: "tune", 31: "tune-ok", 40: "open",
        41: "open-ok", 50: "close", 51: "close-ok", 60: "blocked", 61: "unblocked", 70: "update-secret",
        71: "update-secret-ok",
    },
    (20, "channel"): {10: "open", 11: "open-ok", 20: "flow", 21: "flow-ok", 40: "close", 41: "close-ok"},
    (30, "access"): {10: "request", 11: "request-ok"},
    (40, "exchange"): {
        10: "declare", 11: "declare-ok", 20: "delete", 21: "delete-ok", 30: "bind", 31: "bind-ok", 40: "unbind",
        51: "unbind-ok",
    },
    (50, "queue"): {
        10: "declare", 11: "declare-ok", 20: "bind", 21: "bind-ok", 30: "purge", 31: "purge-ok", 40: "delete",
        41: "delete-ok", 50: "unbind", 51: "unbind-ok",
    },
    (60, "basic"): {
        10: "qos", 11: "qos-ok", 20: "consume", 21: "consume-ok", 30: "cancel", 31: "cancel-ok", 40: "publish",
        50: "return", 60: "deliver", 70: "get", 71: "get-ok", 72: "get-empty", 80: "ack", 90: "reject",
        100: "recover-async", 110: "recover", 111: "recover-ok", 120: "nack",
    },
    (85, "confirm"): {10: "select", 11: "select-ok"},
    (90, "tx"): {10: "select", 11: "select-ok", 20: "commit", 21: "commit-ok", 30: "rollback", 31: "rollback-ok"},
}  # fmt: skip

METHODS = {
    number << 16 | method: f"{name}.{word}"
    for (number, name), methods in _CLASSES.items()
    for method, word in methods.items()
}

_OF_EITHER = ("channel.flow", "channel.close", "connection.close", "basic.cancel")
_EITHER = {name for name in METHODS.values() if name.startswith(_OF_EITHER)}
_ASKED_BY_BROKER = {f"connection.{word}" for word in ("start", "secure", "tune", "blocked", "unblocked")}
_FROM_BROKER = _EITHER | _ASKED_BY_BROKER | {"basic.get-empty"}
_FROM_BROKER |= {name for name in METHODS.values() if name.endswith("-ok")}
_FROM_BROKER -= {f"connection.{word}-ok" for word in ("start", "secure", "tune")}
_SHORT_NAMES = {f"basic.{word}" for word in ("publish", "return", "deliver", "ack", "nack", "reject")}
_OF_BOTH = {"heartbeat", "protocol-header"}

UPSTREAM = _OF_BOTH | {"publish", "ack", "nack", "reject"}
UPSTREAM |= (set(METHODS.values()) - _FROM_BROKER - _SHORT_NAMES) | _EITHER
DOWNSTREAM = _OF_BOTH | {"deliver", "confirm", "refuse", "return"} | _FROM_BROKER
