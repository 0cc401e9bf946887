"""From words to a command: tyro reads them, its complaints become one sentence."""

import io
import re
from contextlib import redirect_stderr
from typing import Any

import tyro

from trompe.cli import spelling, tree
from trompe.cli.command import Command
from trompe.core.errors import UserError

__all__ = ["complaint", "parse"]

_SIDES = "|\u2502"
_RULE = re.compile(r"[\s|+\u2500-\u257f-]*")
_KINDS = {"{None}|": "", "INT": "a whole number", "FLOAT": "a number"}
_KNOWN = (
    (
        r"Error parsing (?P<name>--[\w-]+): invalid literal for int\(\).*?: '?(?P<value>.*?)'?$",
        "{name}: expected a whole number, got '{value}'",
    ),
    (
        r"Error parsing (?P<name>--[\w-]+): no type matching (?P<rest>.*?) could be instantiated from "
        r"\['?(?P<value>.*?)'?\]\.?$",
        "{name}: expected {rest}, got '{value}'",
    ),
    (
        r"Error parsing (?P<name>--[\w-]+): could not convert string to float: '?(?P<value>.*?)'?$",
        "{name}: expected a number, got '{value}'",
    ),
    (
        r"invalid choice '?(?P<value>.*?)'? for argument '(?P<name>--[\w-]+)'. Expected one of "
        r"\((?P<rest>.*?)\)\.?$",
        "{name}: expected one of {rest}, got '{value}'",
    ),
    (r"Missing value for argument '(?P<name>--[\w-]+)'.*", "{name} needs a value"),
    (r"Unrecognized options: (?P<rest>.*)$", "do not know what to do with {rest}"),
    (r"Missing from .*?: (?P<rest>[A-Z\[\]/]+)\b.*$", "give {rest}"),
)


def parse(found: tree.Found) -> Command:
    """The verb with its options.

    Raises:
        UserError: an option that the verb does not have, a value that does not fit, or none where one is
            needed.
        SystemExit: help was asked for and printed.
    """
    assert found.command is not None
    names = tree.options(found.command)
    spelling.check_options(found.rest, names, found.program)
    given = {word.split("=")[0].lstrip("-").replace("_", "-") for word in found.rest}
    missing = [f"--{name}" for name in tree.required(found.command) if name not in given]
    if missing and not given & {"h", "help"}:
        raise UserError(
            f"{found.program} needs {' and '.join(missing)}; {found.program} --help says more"
        )
    command: Command = reads(found.command, found.program, found.rest)
    return command


def reads(form: Any, program: str, words: list[str], description: str | None = None) -> Any:
    """What tyro makes of the words; its framed complaints are one sentence."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                form, prog=program, args=words, config=tree.CONFIG, description=description
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(f"{complaint(said.getvalue())}; {program} --help says more") from None


def complaint(box: str) -> str:
    """The first paragraph of a framed complaint, in our words where we know it.

    >>> complaint("╭─ Parsing error ─╮\\n│ Unrecognized options: 4 │\\n│ ──────── │\\n│ See help │")
    'do not know what to do with 4'
    """
    lines: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip().strip(_SIDES).strip()
        if _RULE.fullmatch(line) and lines:
            break
        if text and not _RULE.fullmatch(line):
            lines.append(text)
    said = " ".join(lines)
    for pattern, ours in _KNOWN:
        if match := re.search(pattern, said):
            parts = {k: v.replace("'", "") for k, v in match.groupdict().items()}
            for tyros, plain in _KINDS.items():
                parts = {k: v.replace(tyros, plain) for k, v in parts.items()}
            return ours.format(**parts)
    return said or "these options do not fit together"
