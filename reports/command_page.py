"""The page of all commands, made from what ``--help`` says: docs/reference-cli.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

_HEAD = """\
# Commands

Made by `make docs` from the commands themselves: do not edit. The same words as `gauntlet COMMAND --help`.

Exit codes: **0** pass · **1** fail · **2** unknown (the evidence does not suffice) · **3** wrong usage · **4** the
environment did not come up · **130** interrupted.
"""


def command_page(gauntlet: click.Group) -> str:
    """The page in Markdown: an index, then each command with its options."""
    commands = list(_commands(gauntlet, ()))
    index = [
        f"* [`{name}`](#{name.replace(' ', '-')}): {command.get_short_help_str(100)}" for name, command in commands
    ]
    return "\n".join([_HEAD, *index, "", *(_section(name, command, gauntlet) for name, command in commands)])


def _commands(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    for name in sorted(group.commands):
        command = group.commands[name]
        words = (*above, name)
        if isinstance(command, click.Group):
            yield from _commands(command, words)
        else:
            yield f"gauntlet {' '.join(words)}", command


def _section(name: str, command: click.Command, gauntlet: click.Group) -> str:
    """With the group's settings, as when it is run: click makes the option for help once, and keeps it."""
    context = click.Context(command, info_name=name, **gauntlet.context_settings)
    usage = command.collect_usage_pieces(context)
    lines = [f"## {name}", "", f"`{' '.join([name, *usage])}`", "", inspect.cleandoc(command.help or ""), ""]
    options = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    lines += [
        "| option | does |",
        "|---|---|",
        *(f"| `{_cell(names)}` | {_cell(does)} |" for names, does in options),
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
