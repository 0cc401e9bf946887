"""Other libraries' attacks as attacks of ours: Foolbox, ART and pyautoattack.

Thin adapters, for comparison and for what is not worth writing again. Around every run the global
generators are saved, seeded from the examples' streams and restored; so are the model's modes, gradients
and `requires_grad`; what comes back is projected on the ball and the domain; passes are metered. Their draws
belong to the batch, not to examples, so `independent` is False. Needs `pip install 'trompe[peers]'`.
"""

import difflib
import logging
import math
import os
import random as python_random
import sys
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from trompe.attacks.base import ClassifierAttack
from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.core.execution import spend
from trompe.core.geometry import Ball

__all__ = ["ARTAttack", "AutoAttack", "FoolboxAttack", "Named", "Peer"]

_ORDERS = {"L1": 1, "L2": 2, "Linf": math.inf}


class _Metered(nn.Module):
    """The model as a peer meets it: counted, on reproducible draws, and in the inputs' own precision."""

    def __init__(self, model: nn.Module, like: Tensor, seed: Tensor) -> None:
        super().__init__()
        self.model = model
        self.training = False  # of this shell alone
        self.dtype, self.seed, self.calls = like.dtype, seed, 0

    def forward(self, x: Tensor) -> Tensor:
        spend(forwards=len(x))
        with random.streams(self.seed, self.calls):
            logits: Tensor = self.model(x.to(self.dtype)).to(x.dtype)
        self.calls += 1
        if logits.requires_grad:
            logits.register_hook(_note_backward)
        return logits


def _note_backward(grad: Tensor) -> None:
    spend(backwards=len(grad))


@contextmanager
def _left_as_found(model: nn.Module) -> Iterator[None]:
    """Restore modes, gradients and `requires_grad`; parameters have no gradients meanwhile."""
    modes = [(module, module.training) for module in model.modules()]
    asked = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    for parameter, _, _ in asked:
        parameter.requires_grad_(False).grad = None
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag, grad in asked:
            parameter.requires_grad_(flag).grad = grad


@contextmanager
def _own_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python inside, and restore them (and any tracer)."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_state, tracer = python_random.getstate(), sys.gettrace()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        python_random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            python_random.setstate(python_state)
            sys.settrace(tracer)


@contextmanager
def _from_extra(library: str) -> Iterator[None]:
    """Import a library inside: its own warnings are not ours to show, its absence is explained."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{library} is not installed ({error}): pip install 'trompe[peers]'"
        ) from None


@dataclass(frozen=True)
class Peer(ClassifierAttack):
    """What the adapters share: the checks, and the state of the world put back."""

    independent = False

    def __post_init__(self) -> None:
        if not isinstance(self.domain, Images):
            raise UserError(
                f"{type(self).__name__} attacks images; use an attack of ours on vectors"
            )

    @abstractmethod
    def delegate(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Run the library's attack on a model that is metered, with gradients enabled."""

    def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """The library's answer, projected on the ball and the domain."""
        ball: Ball | None = getattr(self, "ball", None)
        if ball is not None and ball.eps == 0:
            return x
        with (
            _own_generators(int(seeds.sum()) % 2**32, x.device),
            _left_as_found(model),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            shown = _Metered(model, x.clone(), seeds[:1].clone())
            found = self.delegate(shown, x.clone(), y.clone()).detach()
        return self.domain.region(x, ball).project(found.to(x))

    def bounds(self) -> tuple[float, float]:
        """The range of the images."""
        assert isinstance(self.domain, Images)
        return self.domain.low, self.domain.high


@dataclass(frozen=True)
class Named(Peer):
    """An attack that another library knows by name.

    Args:
        name: the class.
        ball: the perturbations allowed; None asks an attack that minimises for its smallest perturbation.
        options: settings for that class, by the library's own names.
    """

    name: str
    ball: Ball | None = None
    options: Mapping[str, Any] | tuple[tuple[str, Any], ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "options", tuple(sorted(dict(self.options).items())))

    def describe(self) -> dict[str, Any]:
        """Class, name and settings as plain values, for records."""
        return {**super().describe(), "options": str(dict(self.options))}


def _named(module: Any, name: str, library: str) -> Any:
    """The attack class of that name, or the names nearest to it."""
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    names = [key for key, value in vars(module).items() if isinstance(value, type)]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    raise UserError(f"{library} has no attack {name!r}; nearest: {', '.join(near) or 'none'}")


def _made(kind: Any, *given: Any, **settings: Any) -> Any:
    try:
        return kind(*given, **settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{kind.__name__} refuses its settings: {error}") from None


@dataclass(frozen=True)
class FoolboxAttack(Named):
    """An attack of Foolbox (Rauber et al. 2020), by the name of its class in `foolbox.attacks`.

    Args:
        name: such as `"L2CarliniWagnerAttack"`, `"BoundaryAttack"`, `"LinfPGD"`.
        ball: the perturbations allowed; None asks an attack that minimises for its smallest perturbation.
        options: keyword arguments of that class.

    Raises:
        UserError: Foolbox absent, no such attack, options it refuses, or a ball of another norm than its own.

    >>> FoolboxAttack("LinfPGD", Ball(eps=0.3), options={"steps": 10}).at(0.1).ball
    Ball(eps=0.1, norm='Linf')
    """

    def delegate(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """One call at the ball's radius."""
        with _from_extra("Foolbox"):
            import foolbox
        library: Any = foolbox
        attack = _made(_named(library.attacks, self.name, "Foolbox"), **dict(self.options))
        order = getattr(getattr(attack, "distance", None), "p", None)
        if self.ball is not None and order is not None and order != _ORDERS[self.ball.norm]:
            raise UserError(f"{self.name} works in L{order:g}, got a ball in {self.ball.norm}")
        kinds = library.criteria
        goal = kinds.TargetedMisclassification(y) if self.targeted else kinds.Misclassification(y)
        shown = library.PyTorchModel(model, bounds=self.bounds(), device=x.device)
        eps = None if self.ball is None else self.ball.eps
        found: Tensor = attack(shown, x, goal, epsilons=eps)[1]
        return found


@contextmanager
def _elsewhere() -> Iterator[None]:
    """Let `~` be a passing folder: ART makes files there when it is imported."""
    names = ("HOME", "USERPROFILE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(dict.fromkeys(names, folder))
        try:
            yield
        finally:
            for name in names:
                os.environ.pop(name)
            os.environ.update(kept)


def _art() -> tuple[Any, Any]:
    """ART's attacks and its classifier, imported without leaving a trace in the home folder."""
    fresh = "art" not in sys.modules
    with _from_extra("ART"), _elsewhere() if fresh else nullcontext():
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier
    if fresh:
        from art import config

        config.ART_DATA_PATH = os.path.expanduser(os.path.join("~", ".art", "data"))
    return evasion, PyTorchClassifier


@dataclass(frozen=True)
class ARTAttack(Named):
    """An attack of the Adversarial Robustness Toolbox, by the name of its class in `art.attacks.evasion`.

    Radius, norm and target are set where the class has them (its steps are a tenth of the radius unless
    told otherwise); an attack without a radius is projected on the ball. ART computes in float32.

    Args:
        name: such as `"HopSkipJump"`, `"ProjectedGradientDescent"`.
        ball: the perturbations allowed; None asks an attack that minimises for its smallest perturbation.
        options: keyword arguments of that class.

    Raises:
        UserError: ART absent, no such attack, options it refuses, or a target for an attack that takes none.

    >>> ARTAttack("HopSkipJump", options={"max_iter": 10}).describe()["options"]
    "{'max_iter': 10}"
    """

    def delegate(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """One call of `generate`."""
        evasion, classifier = _art()
        kind = _named(evasion, self.name, "ART")
        known = set(kind.attack_params)
        if self.targeted and "targeted" not in known:
            raise UserError(f"ART's {self.name} takes no target")
        with torch.no_grad():
            classes = model(x[:1]).shape[1]
        shown = classifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=classes,
            clip_values=self.bounds(),
            device_type="cpu" if x.device.type == "cpu" else "gpu",
        )
        settings = {k: v for k, v in self._settings(len(x)).items() if k in known}
        attack = _made(kind, shown, **{**settings, **dict(self.options)})
        labels = np.eye(classes, dtype=np.float32)[y.cpu().numpy()]
        return torch.as_tensor(attack.generate(x.float().cpu().numpy(), labels))

    def _settings(self, rows: int) -> dict[str, Any]:
        """ART's words for what we know."""
        own: dict[str, Any] = {"targeted": self.targeted, "batch_size": rows, "verbose": False}
        if self.ball is not None:
            own |= {"eps": self.ball.eps, "eps_step": self.ball.eps / 10}
            own |= {"norm": _ORDERS[self.ball.norm]}
        return own


Version = Literal["standard", "plus", "rand"]


@dataclass(frozen=True)
class AutoAttack(Peer):
    """The AutoAttack ensemble of Croce & Hein 2020, as pyautoattack runs it.

    `"standard"` is APGD-CE, targeted APGD-DLR, targeted FAB and Square, each on the survivors of those
    before. It computes in float32. With fewer classes than its losses need, it is run without them:
    targeted DLR below four classes, DLR below three; there are at most K - 1 targets.

    Args:
        ball: the perturbations allowed.
        version: `"standard"`, `"plus"`, or `"rand"` for random models.

    Raises:
        UserError: pyautoattack absent, targets, another version, or images outside [0, 1].

    >>> AutoAttack(Ball(eps=8 / 255)).describe()["version"]
    'standard'
    """

    ball: Ball
    version: Version = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targeted or self.version not in get_args(Version):
            raise UserError(
                f"AutoAttack is untargeted, and its versions are {', '.join(get_args(Version))}; "
                f"got targeted={self.targeted}, version={self.version!r}"
            )
        if self.bounds() != (0.0, 1.0):
            raise UserError(
                "AutoAttack knows images in [0, 1] only; wrap the model with FromSigned"
            )

    def delegate(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """One run of the ensemble."""
        with _from_extra("pyautoattack"):
            import pyautoattack
        logging.getLogger("auto-attack").addHandler(logging.NullHandler())
        ensemble = pyautoattack.AutoAttack(
            model,
            norm=self.ball.norm,
            eps=self.ball.eps,
            seed=torch.initial_seed(),
            version=self.version,
            device=x.device,
        )
        with torch.no_grad():
            _fit(ensemble, model(x[:1]).shape[1])
        found: Tensor = ensemble.run_standard_evaluation(x.float(), y, batch_size=len(x))[0]
        return found


def _fit(ensemble: Any, classes: int) -> None:
    """Leave out what a model of few classes cannot answer."""
    least = {"apgd-t": 4, "apgd-dlr": 3}
    ensemble.attacks_to_run = [a for a in ensemble.attacks_to_run if classes >= least.get(a, 2)]
    for part in (ensemble.apgd_targeted, ensemble.fab):
        part.n_target_classes = min(part.n_target_classes, classes - 1)
