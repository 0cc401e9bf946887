"""The attacks of the package as commands: a class with its fields is a verb with its options."""

import ast
import importlib
import inspect
import pkgutil
import re
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from trompe import attacks
from trompe.attacks.autoencoder import AutoencoderAttack, LatentClassifierAttack, Penalty
from trompe.attacks.base import Attack, ClassifierAttack
from trompe.attacks.singular import SingularDirection
from trompe.attacks.transition import ImageTransition
from trompe.cli.attack import OnAutoencoder, OnClassifier
from trompe.cli.command import Command, option
from trompe.cli.subjects import check_radius
from trompe.cli.transition import ThroughCodes
from trompe.cli.values import radius
from trompe.core.errors import UserError
from trompe.core.geometry import Ball, Norm

if TYPE_CHECKING:
    from torch import nn

    from trompe.data import Dataset
    from trompe.evaluation.applied import Setting, Taken

__all__ = ["commands", "kebab"]

_RADIUS = "The radius of the ball, such as 8/255 or 0.3, in units of the input."
_NORM = "Norm of the radius."
_PENALTY = "Instead of a radius: the weight of the squared distance in the loss."
_PLAIN = {
    "targeted": "towards the class that follows the true one, instead of away from the true one."
}
_FROM_PYTHON = frozenset(
    {"detector_aware", "latent_start", "latent_type_one", "level_set", "verification"}
)
"""Modules of attacks on codes, on levels and on pairs of people: a labelled data set is not enough.

`latent_start` and `detector_aware` need a defence whose parts are known: `trompe audit --defense` runs them.
"""
_OPTIONS = "Settings for that class by its library's own names, as steps=10."


def commands() -> dict[str, type[Command]]:
    """Every attack of the package by its name on the command line."""
    found: dict[str, type[Command]] = {}
    for module in pkgutil.iter_modules(attacks.__path__):
        if module.name in _FROM_PYTHON:
            continue
        loaded = importlib.import_module(f"{attacks.__name__}.{module.name}")
        for name in getattr(loaded, "__all__", ()):
            kind = getattr(loaded, name)
            if _stands_alone(kind) and kind.__module__ == loaded.__name__:
                found[kebab(name)] = _command(kind)
    return dict(sorted(found.items()))


def kebab(name: str) -> str:
    """A class's name as one types it.

    >>> kebab("ProjectedCW"), kebab("PGD"), kebab("DeepFool"), kebab("ARTAttack"), kebab("TypeI")
    ('projected-cw', 'pgd', 'deep-fool', 'art-attack', 'type-one')
    """
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()
    return re.sub(r"-i$", "-one", parts)


def _stands_alone(kind: Any) -> bool:
    """A concrete attack that is not put around another."""
    if not (isinstance(kind, type) and issubclass(kind, Attack)) or inspect.isabstract(kind):
        return False
    return "attack" not in {part.name for part in fields(kind)}


def _command(kind: type[Attack]) -> type[Command]:
    base: Any = OnClassifier
    if issubclass(kind, LatentClassifierAttack):
        base = _OnCodes
    elif issubclass(kind, ImageTransition):
        base = ThroughCodes
    elif issubclass(kind, AutoencoderAttack | SingularDirection):
        base = OnAutoencoder
    elif not issubclass(kind, ClassifierAttack):
        raise TypeError(f"{kind.__name__} attacks neither classifiers nor autoencoders")
    texts, hints = _texts(kind), get_type_hints(kind)
    own = [
        made
        for part in fields(kind)
        if part.init and part.name not in ("domain", *base.fixed)
        for made in _options(part, hints[part.name], texts.get(part.name, ""))
    ]
    clash = {name for name, _, _ in own} & {part.name for part in fields(base)}
    if clash:
        raise TypeError(f"{kind.__name__}: {sorted(clash)} are options of every attack already")
    space = {
        "verb": kebab(kind.__name__),
        "__doc__": _summary(kind),
        "attack": lambda self, data: _made(self, kind, data),
    }
    return make_dataclass(
        f"{kind.__name__}Command", own, bases=(base,), namespace=space, frozen=True, kw_only=True
    )


def _summary(kind: type) -> str:
    """The first sentence of a class's description, with its formulas in plain type."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").replace("`", "")


def _texts(kind: type) -> dict[str, str]:
    """What the `Args:` of a class and of those it extends say of each field."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        section = re.search(
            r"^Args:\n((?:    .*\n?|\n)+)", inspect.cleandoc(owner.__doc__ or ""), re.M
        )
        for entry in re.split(r"\n(?=    \w)", section[1]) if section else []:
            name, colon, text = entry.strip().partition(":")
            if colon:
                found[name] = " ".join(text.replace("`", "").split())
    return found


Made = tuple[str, Any, Any]


def _options(part: "Field[Any]", hint: Any, text: str) -> list[Made]:
    """The options that stand for one field of an attack."""
    needed = part.default is MISSING and part.default_factory is MISSING
    if part.name in ("ball", "budget"):
        free = not needed or part.name == "budget"
        made = [_option("eps", str, _RADIUS, None if free else MISSING, "RADIUS")]
        made.append(_option("norm", Norm | None if free else Norm, _NORM, None if free else "Linf"))
        if part.name == "budget":
            made.append(_option("penalty", float, _PENALTY, None, "WEIGHT"))
        return made
    if part.name == "options":
        return [_option("options", tuple[str, ...], _OPTIONS, (), "KEY=VALUE")]
    default = part.default if part.default_factory is MISSING else part.default_factory()
    return [_option(part.name, hint, _sentence(part.name, text, default), default)]


def _sentence(name: str, text: str, default: Any) -> str:
    """The description of a field as that of an option; a switch that is on is an option to turn it off."""
    text = text or _PLAIN.get(name, "")
    return f"Turn off: {text}" if default is True else text[:1].upper() + text[1:]


def _option(name: str, hint: Any, text: str, default: Any, metavar: str | None = None) -> Made:
    kind = hint | None if default is None and hint in (str, float) else hint
    numbers = {int: "INT", float: "FLOAT", str: "STR"}
    for plain, word in numbers.items():
        metavar = metavar or (word if kind == plain | None else None)
    none = "Linf" if name == "norm" else "none"
    shown = option(text, metavar=metavar, default=none if default in (None, ()) else "")
    settings = field() if default is MISSING else field(default=default)
    return name, Annotated[kind, shown], settings


def _made(given: Any, kind: type[Attack], data: "Dataset") -> Attack:
    """The attack that a command's options describe, on the data's domain."""
    settings: dict[str, Any] = {"domain": data.domain}
    for part in fields(kind):
        if part.name in ("ball", "budget"):
            settings[part.name] = _budget(given, data)
        elif part.name == "options":
            settings["options"] = dict(_pair(text) for text in given.options)
        elif part.init and part.name not in ("domain", *given.fixed):
            settings[part.name] = getattr(given, part.name)
    return kind(**settings)


def _budget(given: Any, data: "Dataset") -> Ball | Penalty | None:
    penalty = getattr(given, "penalty", None)
    if hasattr(given, "penalty") and (given.eps is None) == (penalty is None):
        raise UserError("give either --eps, a radius, or --penalty, a weight")
    if given.eps is None and given.norm is not None:
        raise UserError("--norm is that of --eps; give both")
    if penalty is not None:
        return Penalty(penalty)
    if given.eps is None:
        return None
    eps = radius(given.eps)
    norm: Norm = given.norm or "Linf"
    check_radius(eps, norm, data)
    return Ball(eps, norm)


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--options: expected KEY=VALUE, such as steps=10, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


@dataclass(frozen=True, kw_only=True)
class _OnCodes(OnAutoencoder):
    """An attack on what a classifier reads in the codes."""

    classifier: Annotated[
        str,
        option(
            "module:function that runs your code and returns a classifier of codes, in eval mode.",
            metavar="MODEL",
        ),
    ]

    def specs(self) -> tuple[str | None, ...]:
        """The classifier is the user's too."""
        return *super().specs(), self.classifier

    def measured(self, model: "nn.Module", attack: Attack, setting: "Setting") -> "Taken":
        """The attack, and how often the codes are misread."""
        from trompe.audit.victim import named
        from trompe.evaluation.applied import on_codes

        judge = named(self.classifier).to(setting.device)
        return on_codes(model, judge, attack.using(classifier=judge), setting)
