"""The verbs, and which options each has."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, make_dataclass
from functools import cache
from typing import Annotated, Any, Union, get_type_hints

import tyro

from trompe.cli.audit import Audit
from trompe.cli.command import Command
from trompe.cli.doctor import Doctor
from trompe.cli.results import Compare, Reproduce
from trompe.cli.sets import DataFetch, DataList, DataVerify
from trompe.cli.spelling import unknown_verb
from trompe.cli.zoo import ZooCard, ZooList, ZooTrain

__all__ = ["CONFIG", "Found", "everything", "find", "options", "required"]

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
_GROUPS: dict[str, str] = {
    "attack": "Run one attack on a model, and keep the adversarial inputs.",
    "data": "List, verify and fetch data sets.",
    "zoo": "List, train and inspect the models that come as recipes.",
}
_VERBS: dict[str, type[Command] | dict[str, type[Command]]] = {
    "audit": Audit,
    "doctor": Doctor,
    "attack": {},
    "compare": Compare,
    "reproduce": Reproduce,
    "data": {"list": DataList, "verify": DataVerify, "fetch": DataFetch},
    "zoo": {"list": ZooList, "train": ZooTrain, "card": ZooCard},
}


@dataclass(frozen=True)
class Found:
    """What the first words of a command line name: a verb, or a group that still lacks one."""

    words: tuple[str, ...]
    command: type[Command] | None
    rest: list[str]

    @property
    def program(self) -> str:
        """As typed: `trompe zoo list`."""
        return " ".join(("trompe", *self.words))


@cache
def _attacks() -> dict[str, type[Command]]:
    from trompe.cli.attacks import commands
    from trompe.cli.shift import Shift

    found: dict[str, type[Command]] = {**commands(), "shift": Shift}
    return dict(sorted(found.items()))


def _members(verb: str, attacks: bool) -> Mapping[str, type[Command]] | type[Command]:
    if verb == "attack":
        return _attacks() if attacks else {}
    return _VERBS[verb]


def find(argv: list[str]) -> Found:
    """The verb at the start of a command line.

    Raises:
        UserError: there is none of that name.
    """
    word, rest = argv[0], argv[1:]
    if word not in _VERBS:
        raise unknown_verb(word, _VERBS)
    members = _members(word, attacks=True)
    if isinstance(members, type):
        return Found((word,), members, rest)
    if not rest or rest[0] in ("-h", "--help"):
        return Found((word,), None, rest)
    name = _spelled(rest[0], members) if word == "attack" else rest[0]
    if name not in members:
        raise unknown_verb(rest[0], members, f"trompe {word}")
    return Found((word, name), members[name], rest[1:])


def _spelled(word: str, names: Mapping[str, Any]) -> str:
    """An attack's name however it is written: `DeepFool`, `mi-fgsm`, `latent`."""
    if word.startswith("-"):
        return word

    def plain(text: str) -> str:
        return "".join(filter(str.isalnum, text.lower())).removesuffix("attack") or text

    return next((name for name in names if plain(name) == plain(word)), word)


def everything(*, attacks: bool, group: str = "") -> Any:
    """The type of the whole command line, or of one group, for its help and for completion.

    Args:
        attacks: also every attack's own options, for which torch must be imported.
        group: a verb that has verbs of its own.
    """
    if group:
        members = _members(group, attacks)
        assert isinstance(members, Mapping)
        return _union(members)
    parts = {}
    for verb in _VERBS:
        members = _members(verb, attacks)
        parts[verb] = members if isinstance(members, type) else _group(verb, members)
    return _union(parts)


def _union(parts: Mapping[str, Any]) -> Any:
    named = [Annotated[part, tyro.conf.subcommand(name)] for name, part in parts.items()]
    return Union[tuple(named)]  # noqa: UP007 (made of a list)


def _group(verb: str, members: Mapping[str, Any]) -> type:
    inside = [("verb", _union(members))] if members else []
    return make_dataclass(verb.title(), inside, namespace={"__doc__": _GROUPS[verb]})


def options(command: type[Command]) -> tuple[str, ...]:
    """Its options as typed, without dashes: a switch that is on by default is `no-...`."""
    hints = get_type_hints(command, include_extras=True)
    names = []
    for field in fields(command):
        if _positional(hints[field.name]):
            continue
        name = field.name.replace("_", "-")
        names.append(f"no-{name}" if field.default is True else name)
    return tuple(names)


def required(command: type[Command]) -> tuple[str, ...]:
    """The options that must be given."""
    hints = get_type_hints(command, include_extras=True)
    return tuple(
        field.name.replace("_", "-")
        for field in fields(command)
        if field.default is MISSING
        and field.default_factory is MISSING
        and not _positional(hints[field.name])
    )


def _positional(hint: Any) -> bool:
    return tyro.conf.Positional in getattr(hint, "__metadata__", ())
