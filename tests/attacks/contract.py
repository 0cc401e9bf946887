"""What every attack promises, as checks over a subject: an attack, a victim and its examples.

`test_contract.py` runs them over the package's attacks, `test_mutants.py` over broken ones: the checks
are written for attacks in general, and each mutant must fail one of them.
"""

import copy
import math
import random as python_random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.attacks.supervised import Supervised
from trompe.attacks.base import Attack
from trompe.core import random
from trompe.core.domains import Images, Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import norm, per_example
from trompe.core.losses import margin
from trompe.defenses import Reconstruct

Domain = Images | Vectors
Harm = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Victim:
    """A float64 model, 64 examples it answers rightly, and what the loss refers to."""

    domain: Domain
    model: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor
    networks: dict[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """An attack to be held to the contract.

    Args:
        make: the attack for a domain.
        victim: of which kind, `"classifier"`, `"guarded"`, `"defended"`, `"autoencoder"`, `"embedder"` or
            `"supervised"`.
        harm: `(model, x_adv, x, y) -> (B,)`, higher where the attack does better.
        bounded: whether it has a ball, and so a radius.
        draws: whether another seed must give another result.
        steps: how its number of steps is set, where it has one.
        ranks: whether the iterate of the largest harm is returned.
        targetable: whether `targeted` may be set.
        enough: the harm at which an example may leave.
        rounding: how far apart float64 may end; a line search amplifies rounding.
    """

    name: str
    make: Callable[[Domain], Attack]
    victim: str
    harm: Harm
    bounded: bool = True
    draws: bool = False
    steps: bool = True
    ranks: bool = True
    targetable: bool = True
    enough: float = math.inf
    rounding: float = 1e-9

    def __str__(self) -> str:
        return self.name

    def on(self, victim: Victim) -> Attack:
        """The attack with the networks it needs."""
        return self.make(victim.domain).using(**victim.networks)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.tensor(data.images / 16)[:, None], torch.tensor(data.target)


def _trained(model: nn.Module, loss: Callable[[], Tensor], steps: int = 150) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval().double()


def _classifier(domain: Domain) -> nn.Module:
    """A convolutional net for images, a perceptron for vectors; a frozen part is in train mode."""
    if isinstance(domain, Images):
        body: list[nn.Module] = [nn.Conv2d(1, 6, 3, 2), nn.ELU(), nn.Flatten(), nn.Linear(54, 10)]
    else:
        body = [nn.Linear(64, 24), nn.ELU(), nn.Linear(24, 10)]
    return nn.Sequential(nn.Dropout(0.0), *body)


def inputs(domain: Domain) -> tuple[Tensor, Tensor]:
    """Digits as images in [0, 1], or as vectors around zero without bounds."""
    x, y = _digits()
    return (x, y) if isinstance(domain, Images) else (x.flatten(1) * 4 - 1.3, y)


@cache
def classifier(domain: Domain) -> Victim:
    """A classifier trained for a second on the digits, and 64 of them that it gets right."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        x, y = inputs(domain)
        small, model = x.float(), _classifier(domain)
        _trained(model, lambda: nn.functional.cross_entropy(model(small), y))
    model[0].train()  # Dropout(0) does nothing; its mode is the user's business
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero()[:64, 0]
    x, y = x[right], y[right]
    return Victim(domain, model, x, y, (y + 1 + torch.arange(64) % 9) % 10)


class Coder(nn.Module):
    """A small variational autoencoder."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Sequential(
            nn.Dropout(0.0), nn.Linear(64, 24), nn.ELU(), nn.Linear(24, 12)
        )
        self.decoder = nn.Sequential(nn.Linear(6, 24), nn.ELU(), nn.Linear(24, 64))

    def encode(self, x: Tensor) -> torch.distributions.Distribution:
        mean, scale = self.encoder(x.flatten(1)).chunk(2, 1)
        spread = nn.functional.softplus(scale) + 0.1
        return torch.distributions.Independent(torch.distributions.Normal(mean, spread), 1)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).unflatten(1, self.shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean)


@cache
def autoencoder(domain: Domain) -> Victim:
    """An autoencoder fitted for a second, and a linear classifier of its codes."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        x, y = inputs(domain)
        small = x.float()
        model, judge = Coder(tuple(x.shape[1:])), nn.Linear(6, 10)
        _trained(model, lambda: (model(small) - small).square().mean())
        codes = model.encode(x).mean.detach().float()
        _trained(judge, lambda: nn.functional.cross_entropy(judge(codes), y))
    model.encoder[0].train()
    with torch.no_grad():
        right = (judge(model.encode(x).mean).argmax(1) == y).nonzero()[:64, 0]
    x, y = x[right], y[right]
    return Victim(domain, model, x, y, x.roll(1, 0), {"classifier": judge})


def embedder(domain: Domain) -> Victim:
    """The classifier, its logits read as embeddings; the others are other digits."""
    victim = classifier(domain)
    return replace(victim, target=victim.x.roll(1, 0))


@cache
def supervised(domain: Domain) -> Victim:
    """The classifier, and a supervised autoencoder fitted for a second."""
    victim = classifier(domain)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(0)
        x, y = inputs(domain)
        small, noise = x.float(), torch.randn(len(x), 6)
        svae = Supervised(tuple(x.shape[1:]))

        def loss() -> Tensor:
            z = svae.encode_mean(small)
            real, fake = svae.discriminate(z.detach()), svae.discriminate(noise)
            told = (nn.functional.softplus(-real) + nn.functional.softplus(fake)).mean()
            far = (svae.decode(z) - small).flatten(1).square().sum(1).mean()
            label = nn.functional.cross_entropy(svae.classify(z), y)
            return far + label + told + 0.01 * z.square().sum(1).mean()

        _trained(svae, loss)
    return replace(victim, networks={"svae": svae})


class Guarded(nn.Module):
    """A classifier with a detector of roughness: how far neighbours in a row differ."""

    def __init__(self, model: nn.Module, threshold: float) -> None:
        super().__init__()
        self.model, self.threshold = model, threshold
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def excess(self, x: Tensor) -> Tensor:
        return x.flatten(1).diff(dim=1).square().sum(1) / self.threshold - 1


def guarded(domain: Domain) -> Victim:
    """The classifier behind a detector that accepts its examples, the roughest only just."""
    victim = classifier(domain)
    roughest = float(Guarded(victim.model, 1.0).excess(victim.x).amax()) + 1
    return replace(victim, model=Guarded(victim.model, 1.01 * roughest))


def defended(domain: Domain) -> Victim:
    """The classifier behind the autoencoder, and the examples that it gets right there."""
    victim, coder = classifier(domain), autoencoder(domain).model
    model = Reconstruct(coder, victim.model)
    model.training = False
    with torch.no_grad():
        right = model(victim.x).argmax(1) == victim.y
    rows = {name: getattr(victim, name)[right] for name in ("x", "y", "target")}
    return replace(victim, model=model, **rows)


VICTIMS: dict[str, Callable[[Domain], Victim]] = {
    "classifier": classifier,
    "guarded": guarded,
    "defended": defended,
    "autoencoder": autoencoder,
    "embedder": embedder,
    "supervised": supervised,
}


def refers(subject: Subject, victim: Victim) -> Tensor | None:
    """What the subject's loss refers to when it is not told to reach a target."""
    if (
        subject.victim in ("classifier", "guarded", "defended", "supervised")
        or "Classifier" in subject.name
    ):
        return victim.y
    return victim.target if getattr(subject.make(victim.domain), "targeted", False) else None


def some(value: Tensor | None, rows: slice) -> Tensor | None:
    return None if value is None else value[rows]


def attacked(
    subject: Subject, victim: Victim, count: int, attack: Attack | None = None, model: Any = None
) -> Tensor:
    """The attack on the first `count` examples."""
    rows = slice(count)
    chosen = subject.on(victim) if attack is None else attack
    shown = victim.model if model is None else model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return chosen(shown, victim.x[rows], some(refers(subject, victim), rows))


def harm(subject: Subject, victim: Victim, found: Tensor, model: Any = None) -> Tensor:
    rows, y = slice(len(found)), refers(subject, victim)
    with torch.no_grad():
        shown = victim.model if model is None else model
        given = found if y is None else y[rows]
        return subject.harm(shown, found, victim.x[rows], given)


def misled(model: nn.Module, found: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """By how much the right answer has lost."""
    return -margin(model(found), y)


def close(model: nn.Module, found: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """For attacks that minimise: success first, then the smallness of the perturbation."""
    lost = misled(model, found, x, y)
    return torch.where(lost > 0, 1 / (1 + norm(found - x, "L2")), lost.clamp(max=0))


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def identity_at_radius_zero(subject: Subject, victim: Victim) -> None:
    if not subject.bounded:
        return
    found = attacked(subject, victim, 8, subject.on(victim).at(0.0))
    assert float((found - victim.x[:8]).abs().max()) <= 1e-12


def inside_ball_and_domain(subject: Subject, victim: Victim) -> None:
    attack = subject.on(victim)
    for factor in (0.3, 1.0, 4.0) if subject.bounded else (1.0,):
        if subject.bounded:
            ball = attack.ball.at(attack.ball.eps * factor)  # type: ignore[attr-defined]
            found = attacked(subject, victim, 8, attack.at(ball.eps))
            size = norm(found - victim.x[:8], ball.norm)
            assert float(size.max()) <= ball.eps * (1 + 1e-9) + 1e-12
        else:
            found = attacked(subject, victim, 8)
        assert found.shape == victim.x[:8].shape
        assert found.dtype == victim.x.dtype
        victim.domain.validate(found)
        if isinstance(victim.domain, Images):
            assert float(found.min()) >= 0
            assert float(found.max()) <= 1


def alone_as_in_a_batch(subject: Subject, victim: Victim) -> None:
    if not subject.make(victim.domain).independent:
        return
    attack, y, seeds = subject.on(victim), refers(subject, victim), random.seeds(3, 8)
    together = attack(victim.model, victim.x[:8], some(y, slice(8)), seeds=seeds)
    for row in range(8):
        one = slice(row, row + 1)
        alone = attack(victim.model, victim.x[one], some(y, one), seeds=seeds[one])
        assert float((alone - together[one]).abs().max()) <= subject.rounding, (
            f"example {row} differs"
        )


def seeds_decide(subject: Subject, victim: Victim) -> None:
    attack, y = subject.on(victim), some(refers(subject, victim), slice(8))
    x = victim.x[:8]
    first = attack(victim.model, x, y, seeds=random.seeds(1, 8))
    torch.manual_seed(5)
    assert same(first, attack(victim.model, x, y, seeds=random.seeds(1, 8))), "same seeds differ"
    if subject.draws:
        other = attack(victim.model, x, y, seeds=random.seeds(2, 8))
        assert not same(first, other), "another seed makes no difference"


def global_generators_untouched(subject: Subject, victim: Victim) -> None:
    kept = torch.get_rng_state(), np.random.get_state(), python_random.getstate()  # noqa: NPY002
    attacked(subject, victim, 4)
    assert torch.equal(kept[0], torch.get_rng_state()), "torch's global generator was used"
    now: Any = np.random.get_state()  # noqa: NPY002
    assert (kept[1][1] == now[1]).all(), "numpy's global generator was used"
    assert kept[1][2:] == now[2:], "numpy's global generator was used"
    assert kept[2] == python_random.getstate(), "Python's global generator was used"


def model_and_inputs_left_as_found(subject: Subject, victim: Victim) -> None:
    model = copy.deepcopy(victim.model)
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    x, y = victim.x[:4].clone().requires_grad_(), some(refers(subject, victim), slice(4))
    y = None if y is None else y.clone()
    before = _snapshot(model), x.detach().clone(), None if y is None else y.clone()
    found = subject.on(victim)(model, x, y)
    now = _snapshot(model)
    assert before[0]["modes"] == now["modes"], "a module's mode was changed"
    assert before[0]["asked"] == now["asked"], "requires_grad was changed"
    for name, value in before[0]["values"].items():
        assert same(value, now["values"][name]), f"{name} was changed"
    for name, value in before[0]["grads"].items():
        kept = now["grads"][name]
        assert (value is None) == (kept is None), f"{name}.grad was left behind"
        assert value is None or same(value, kept), f"{name}.grad was changed"
    assert same(x.detach(), before[1]), "the inputs were changed"
    assert x.grad is None, "a gradient was left on the inputs"
    assert y is None or same(y, before[2]), "the labels were changed"
    assert not found.requires_grad
    assert found.data_ptr() != x.data_ptr() or subject.bounded is False, "the input was returned"


def _snapshot(model: nn.Module) -> dict[str, Any]:
    named = dict(model.named_parameters())
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "asked": {name: p.requires_grad for name, p in named.items()},
        "grads": {n: None if p.grad is None else p.grad.clone() for n, p in named.items()},
        "values": {name: value.clone() for name, value in model.state_dict().items()},
    }


def works_without_gradients(subject: Subject, victim: Victim) -> None:
    outside = attacked(subject, victim, 4)
    with torch.no_grad():
        assert same(outside, attacked(subject, victim, 4)), "no_grad changes the result"
    with torch.inference_mode():
        assert same(outside, attacked(subject, victim, 4)), "inference_mode changes the result"
        made = replace(victim, x=victim.x.clone(), y=victim.y.clone(), target=victim.target.clone())
        assert same(outside, attacked(subject, made, 4)), "inputs made in inference_mode differ"


def more_steps_not_worse(subject: Subject, victim: Victim) -> None:
    if not subject.steps:
        return
    attack: Any = subject.on(victim)
    few = replace(attack, steps=max(1, attack.steps // 5))
    object.__setattr__(few, "_networks", attack._networks)
    less, more = (
        harm(subject, victim, attacked(subject, victim, 64, chosen))
        .clamp(max=subject.enough)
        .mean()
        for chosen in (few, attack)
    )
    assert more >= less - 1e-3 * less.abs(), f"{float(less):.4f} falls to {float(more):.4f}"


def beats_noise_of_its_norm(subject: Subject, victim: Victim) -> None:
    """Three draws of noise of each perturbation's own norm; and the attack takes at least half its ball."""
    found = attacked(subject, victim, 64)
    ball = subject.on(victim).ball if subject.bounded else None  # type: ignore[attr-defined]
    kind = "L2" if ball is None else ball.norm
    size = norm(found - victim.x, kind)
    made = harm(subject, victim, found).mean()
    start = harm(subject, victim, victim.x).mean()
    for draw in range(3):
        with random.streams(random.seeds(100 + draw, len(found))):
            noise = random.signs(tuple(found.shape), found)
        noise = noise * per_example(size / norm(noise, kind), noise)
        luck = harm(subject, victim, victim.domain.project(victim.x + noise)).mean()
        assert made > luck + 0.5 * (luck - start).abs(), (
            f"noise does {float(luck):.4f}, the attack {float(made):.4f}"
        )


def never_worse_than_seen(subject: Subject, victim: Victim) -> None:
    """The best iterate is returned, not the last: on one example, among all that the model was shown."""
    if not (subject.ranks and subject.bounded and subject.victim == "classifier"):
        return
    for row in range(4):
        one = slice(row, row + 1)
        x, y = victim.x[one], victim.y[one]
        seen: list[float] = []
        model = Wavy(victim.model, lambda v, y=y, seen=seen: seen.append(float(-margin(v, y))))
        subject.on(victim)(model, x, y)
        start = len(seen)
        found = subject.on(victim)(model, x, y)
        made = float(misled(model, found, x, y).detach())
        # The first look is at the clean input, by the checks at the door.
        assert made >= min(max(seen[start + 1 : -1]), subject.enough) - 1e-9, (
            "a better iterate was seen"
        )


class Wavy(nn.Module):
    """A model whose logits ripple, so that a step too far is a step too many; it reports what it says."""

    def __init__(self, model: nn.Module, report: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.model, self.report = model, report
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        logits = 4 * torch.cos(logits) + 0.2 * logits
        self.report(logits.detach())
        return logits


def reaches_each_target(subject: Subject, victim: Victim) -> None:
    """Told one target per example, it moves each towards its own."""
    attack: Any = subject.on(victim)
    if not subject.targetable:
        return
    if subject.bounded:
        attack = attack.at(attack.ball.eps * 2)
    attack = replace(attack, targeted=True)
    classes = subject.victim == "classifier" or "Classifier" in subject.name
    if "Classifier" in subject.name:
        attack = attack.using(**victim.networks)
    target = classifier(victim.domain).target if classes else victim.target
    found = attack(victim.model, victim.x, target)
    with torch.no_grad():
        if not classes:
            assert bool(
                (harm_to(subject, victim, found) < harm_to(subject, victim, victim.x)).all()
            )
            return
        read = _reader(subject, victim)
        before, after = margin(read(victim.x), target), margin(read(found), target)
    gain = after - before
    assert float(gain.mean()) > 0, f"targets lose {-float(gain.mean()):.3f} on average"
    rate = float((after > 0).double().mean())
    assert rate >= 0.3, f"only {rate:.0%} of the targets are reached"


def _reader(subject: Subject, victim: Victim) -> Callable[[Tensor], Tensor]:
    if subject.victim == "classifier":
        return victim.model
    return lambda x: victim.networks["classifier"](victim.model.encode(x).mean)


def harm_to(subject: Subject, victim: Victim, found: Tensor) -> Tensor:
    """How far an autoencoder's code is from the target's."""
    if subject.name.startswith("Output"):
        return (victim.model(found) - victim.target).flatten(1).norm(dim=1)
    codes = victim.model.encode(found).mean, victim.model.encode(victim.target).mean
    return (codes[0] - codes[1]).norm(dim=1)


def sees_the_whole_model(subject: Subject, victim: Victim) -> None:
    """Behind a purifier that mirrors inputs, the gradient of the classifier alone points the wrong way."""
    if subject.victim != "classifier" or not subject.bounded:
        return
    model = Mirrored(victim.model, 1.0 if isinstance(victim.domain, Images) else 0.0)
    mirrored = replace(victim, model=model, x=model.reconstruct(victim.x))
    found = attacked(subject, mirrored, 64)
    made, plain = (
        harm(subject, mirrored, found),
        harm(subject, victim, attacked(subject, victim, 64)),
    )
    clean = harm(subject, victim, victim.x).mean()
    assert made.mean() > clean, "behind a mirror the attack helps the defender"
    assert made.mean() - clean > 0.7 * (plain.mean() - clean), (
        "behind a mirror the attack is weaker"
    )


class Mirrored(nn.Module):
    """A purified classifier: `classifier(c - x)`."""

    def __init__(self, classifier: nn.Module, center: float) -> None:
        super().__init__()
        self.classifier, self.center = classifier, center
        self.training = False

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.center - x

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.reconstruct(x))


def counts_its_passes(subject: Subject, victim: Victim) -> None:
    """The meter says what the model was really asked."""
    if subject.victim != "classifier":
        return
    asked: list[int] = []

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        asked.append(len(given[0]))

    handle = victim.model.register_forward_pre_hook(note)
    try:
        with metered() as cost:
            attacked(subject, victim, 8)
    finally:
        handle.remove()
    assert cost.forwards == sum(asked), f"counted {cost.forwards} of {sum(asked)} forward passes"


def describes_itself(subject: Subject, victim: Victim) -> None:
    attack, again = subject.make(victim.domain), subject.make(victim.domain)
    assert attack == again
    assert hash(attack) == hash(again)
    shown = attack.describe()
    assert type(attack).__name__ in str(shown["attack"])
    assert all(v is None or isinstance(v, bool | int | float | str) for v in shown.values())
    if subject.bounded:
        assert attack.at(0.0123).ball.eps == 0.0123  # type: ignore[attr-defined]
        assert attack.at(0.0123) != attack
    else:
        with pytest.raises(UserError, match="no radius"):
            attack.at(0.1)


CHECKS: tuple[Callable[[Subject, Victim], None], ...] = (
    identity_at_radius_zero,
    inside_ball_and_domain,
    alone_as_in_a_batch,
    seeds_decide,
    global_generators_untouched,
    model_and_inputs_left_as_found,
    works_without_gradients,
    more_steps_not_worse,
    beats_noise_of_its_norm,
    never_worse_than_seen,
    reaches_each_target,
    sees_the_whole_model,
    counts_its_passes,
    describes_itself,
)
