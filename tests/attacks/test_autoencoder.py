"""The attacks on autoencoders against closed forms, their contracts, and an independent library."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from trompe.attacks import LatentAttack, LatentClassifierAttack, OutputAttack, Penalty
from trompe.attacks.autoencoder import AutoencoderAttack
from trompe.core import losses, random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import metered
from trompe.core.geometry import Ball
from trompe.core.protocols import PointMass
from trompe.core.random import seeds


class Linear(nn.Module):
    """`z = W x`, a point or, with deviations `exp(S x)`, a Gaussian; the decoder is W'."""

    def __init__(self, weight: Tensor, spread: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.spread = spread
        self.decoded = 0

    def encode(self, x: Tensor) -> Distribution:
        flat = x.flatten(1)
        mean = flat @ self.weight.T
        if self.spread is None:
            return PointMass(mean)
        return Independent(Normal(mean, (flat @ self.spread.T).exp(), validate_args=False), 1)

    def decode(self, z: Tensor) -> Tensor:
        self.decoded += 1
        return z @ self.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean).view_as(x)


class Curved(nn.Module):
    """A small Gaussian encoder of 8x8 images with a decoder."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid())
        for parameter in self.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = noise / parameter.shape[-1] ** 0.5
        self.decoded = 0

    def encode(self, x: Tensor) -> Distribution:
        mean, log = self.trunk(x).chunk(2, 1)
        return Independent(Normal(mean, (0.5 * log).exp(), validate_args=False), 1)

    def decode(self, z: Tensor) -> Tensor:
        self.decoded += 1
        return self.decoder(z).view(-1, 1, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x).mean)


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(4, 12, dtype=torch.float64)


@pytest.fixture
def vectors() -> tuple[Tensor, Tensor]:
    return torch.randn(5, 12, dtype=torch.float64), torch.randn(5, 12, dtype=torch.float64)


@pytest.fixture
def curved() -> Curved:
    return Curved().eval()


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, 8, 1, 8, 8, generator=generator)
    return x.round(decimals=1), y


# --- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_a_penalty_on_a_linear_encoder_is_ridge_regression(
    weight: Tensor, vectors: tuple[Tensor, Tensor], c: float, solver: str
) -> None:
    x, y = vectors
    attack = LatentAttack(Penalty(c), solver=solver, domain=Vectors())
    found = attack(Linear(weight).eval(), x, y)
    gram = weight.T @ weight
    best = torch.linalg.solve(gram + c * torch.eye(12), gram @ (y - x).T).T
    torch.testing.assert_close(found - x, best, atol=1e-6, rtol=0)


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_a_sweep_solves_every_weight_at_once(
    weight: Tensor, vectors: tuple[Tensor, Tensor], solver: str
) -> None:
    x, y = vectors
    model, weights = Linear(weight).eval(), (0.01, 1.0, 100.0)
    attack = LatentAttack(Penalty(1.0), solver=solver, domain=Vectors())
    found = attack.sweep(model, x, y, weights=weights)
    assert found.shape == (3, *x.shape)
    for c, some in zip(weights, found, strict=True):
        alone = replace(attack, budget=Penalty(c))(model, x, y)
        torch.testing.assert_close(some, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("norm", ["L2"])
def test_maximum_damage_of_a_linear_encoder_is_its_top_singular_vector(
    weight: Tensor, vectors: tuple[Tensor, Tensor], norm: str, solver: str
) -> None:
    x, _ = vectors
    attack = LatentAttack(
        Ball(0.5, norm), targeted=False, solver=solver, steps=200, domain=Vectors()
    )
    moved = attack(Linear(weight).eval(), x) - x
    top = torch.linalg.svd(weight).Vh[0]
    torch.testing.assert_close((moved @ top).abs(), x.new_full((5,), 0.5), atol=1e-4, rtol=0)


@pytest.mark.parametrize("solver", ["auto", "steepest", "lbfgs"])
def test_a_ball_on_a_linear_encoder_gives_the_boundary_solution_of_its_multiplier(
    weight: Tensor, vectors: tuple[Tensor, Tensor], solver: str
) -> None:
    x, y = vectors
    attack = LatentAttack(Ball(0.3, "L2"), solver=solver, steps=300, domain=Vectors())
    found = attack(Linear(weight).eval(), x, y) - x
    gram, goal = weight.T @ weight, (weight.T @ weight @ (y - x).T).T
    low, high = torch.zeros(5, 1, 1, dtype=x.dtype), torch.full((5, 1, 1), 1e4, dtype=x.dtype)
    for _ in range(100):  # bisection on the multiplier
        c = (low + high) / 2
        best = torch.linalg.solve(gram + c * torch.eye(12), goal[:, :, None])[:, :, 0]
        long = (best.norm(dim=1) > 0.3)[:, None, None]
        low, high = torch.where(long, c, low), torch.where(long, high, c)
    reached = (weight @ (found - (y - x)).T).norm(dim=0)
    optimum = (weight @ (best - (y - x)).T).norm(dim=0)
    torch.testing.assert_close(reached, optimum, rtol=2e-3, atol=0)


@pytest.mark.parametrize("solver", ["lbfgs", "steepest", "adam", "scipy"])
def test_a_box_around_a_linear_encoder_of_one_unit_is_filled_by_signs(solver: str) -> None:
    w = torch.tensor([[1.0, -2.0, 0.5]])
    x = torch.full((1, 3), 0.5)
    attack = LatentAttack(Ball(0.1), solver=solver, domain=Vectors())
    found = attack(Linear(w).eval(), x, x + 10 * w.sign())
    torch.testing.assert_close(found - x, 0.1 * w.sign())


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
def test_bounds_on_pixels_bind_as_in_bounded_least_squares(solver: str) -> None:
    from scipy.optimize import lsq_linear

    generator = torch.Generator().manual_seed(2)
    w = torch.randn(6, 64, generator=generator, dtype=torch.float64)
    x, y = torch.rand(2, 3, 1, 8, 8, generator=generator, dtype=torch.float64).round()
    found = LatentAttack(Penalty(0.5), solver=solver, steps=300)(Linear(w).eval(), x, y)
    rows = torch.cat([w, 0.5**0.5 * torch.eye(64, dtype=torch.float64)]).numpy()
    for i in range(3):
        goal = torch.cat([w @ y[i].flatten(), 0.5**0.5 * x[i].flatten()]).numpy()
        best = torch.from_numpy(lsq_linear(rows, goal, (0, 1), tol=1e-12).x).view_as(x[i])
        assert bool(((best < 1e-6) | (best > 1 - 1e-6)).any())
        torch.testing.assert_close(found[i], best, atol=1e-4, rtol=0)


@pytest.mark.parametrize("divergence", ["kl", "symmetric_kl", "wasserstein2"])
def test_posteriors_of_a_linear_gaussian_encoder_meet(
    weight: Tensor, vectors: tuple[Tensor, Tensor], divergence: str
) -> None:
    """Mean and deviation are linear in x and there are more inputs than both: the optimum is zero."""
    x, y = vectors
    model = Linear(weight, 0.1 * torch.randn(4, 12, dtype=x.dtype)).eval()
    attack = LatentAttack(Penalty(0.0), divergence=divergence, steps=300, domain=Vectors())
    p, q = model.encode(attack(model, x, y)), model.encode(y)
    assert bool((losses.DIVERGENCES[divergence](p, q) < 1e-6).all())


class Gaussian(nn.Module):
    """The encoder of a linear-Gaussian VAE: `q(z|x) = N(W x, s^2 I)`, the same s for every x."""

    def __init__(self, weight: Tensor, deviation: float) -> None:
        super().__init__()
        self.weight, self.deviation = nn.Parameter(weight), deviation

    def encode(self, x: Tensor) -> Distribution:
        mean = x.flatten(1) @ self.weight.T
        return Independent(Normal(mean, self.deviation * torch.ones_like(mean)), 1)


def ridge_of_kl(model: Gaussian, x: Tensor, y: Tensor, c: float) -> Tensor:
    """KL between posteriors is `||W d - r||^2 / 2 s^2`: ridge regression with weight `2 s^2 c`."""
    gram = model.weight.T @ model.weight
    level = 2 * model.deviation**2 * c
    return torch.linalg.solve(gram + level * torch.eye(12), gram @ (y - x).T).T.detach()


@pytest.mark.parametrize("solver", ["lbfgs", "scipy"])
@pytest.mark.parametrize("deviation", [0.3, 1.0])
def test_kl_of_a_linear_gaussian_vae_is_the_scaled_distance_of_means(
    weight: Tensor, vectors: tuple[Tensor, Tensor], solver: str, deviation: float
) -> None:
    (x, y), c, model = vectors, 0.7, Gaussian(weight, deviation).eval()
    attack = LatentAttack(Penalty(c), divergence="kl", solver=solver, domain=Vectors())
    found = attack(model, x, y)
    torch.testing.assert_close(found - x, ridge_of_kl(model, x, y, c), atol=1e-6, rtol=0)
    p, q = model.encode(x), model.encode(y)
    closed = (weight @ (y - x).T).square().sum(0) / (2 * deviation**2)
    torch.testing.assert_close(losses.kl(p, q), closed)


def test_a_mutant_with_deviations_for_variances_is_caught(
    weight: Tensor, vectors: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = test_kl_of_a_linear_gaussian_vae_is_the_scaled_distance_of_means
    monkeypatch.setitem(losses.DIVERGENCES, "kl", losses.kl_published)
    for deviation in (0.3, 1.0):
        with pytest.raises(AssertionError):
            oracle(weight, vectors, "lbfgs", deviation)


def test_the_published_kl_is_not_that_of_a_linear_gaussian_vae(
    weight: Tensor, vectors: tuple[Tensor, Tensor]
) -> None:
    """The deviation for the variance: the weight of the ridge is `s c`, a half of it missing besides."""
    (x, y), c, s = vectors, 0.7, 0.3
    model = Gaussian(weight, s).eval()
    attack = LatentAttack(Penalty(c), divergence="kl_published", domain=Vectors())
    found = attack(model, x, y) - x
    other = Gaussian(weight, (s / 2) ** 0.5)  # whose correct KL has the published weight
    torch.testing.assert_close(found, ridge_of_kl(other, x, y, c), atol=1e-6, rtol=0)
    assert float((found - ridge_of_kl(model, x, y, c)).abs().max()) > 0.01


def test_the_output_attack_on_the_identity_returns_the_blend(images: tuple[Tensor, Tensor]) -> None:
    """`||x + d - y||^2 + c ||d||^2` is least at `d = (y - x) / (1 + c)`."""
    x, y = images
    found = OutputAttack(Penalty(3.0))(nn.Identity().eval(), x, y)
    torch.testing.assert_close(found, x + (y - x) / 4, atol=1e-5, rtol=0)


# --- contracts ------------------------------------------------------------------------------------

LATENT = LatentAttack(Ball(0.1), steps=20)
ATTACKS: dict[str, AutoencoderAttack] = {
    "latent": LATENT,
    "latent-kl": replace(LATENT, divergence="kl"),
    "latent-damage": replace(LATENT, targeted=False, restarts=2),
    "latent-L2": LatentAttack(Ball(1.0, "L2"), steps=20),
    "latent-L1": LatentAttack(Ball(4.0, "L1"), steps=20),
    "latent-adam": replace(LATENT, solver="adam"),
    "output": OutputAttack(Ball(0.1), steps=20),
    "output-reconstruction": OutputAttack(Ball(0.1), steps=20, match="reconstruction"),
    "output-damage": OutputAttack(Ball(1.0, "L2"), targeted=False, steps=20),
    "classifier": LatentClassifierAttack(Ball(0.1), steps=20),
    "classifier-damage": LatentClassifierAttack(Ball(0.1), targeted=False, steps=20),
    "penalty": LatentAttack(Penalty(0.1), steps=20),
}


def prepared(name: str, y: Tensor) -> tuple[AutoencoderAttack, Tensor | None]:
    """The attack with what it needs, and what it refers to."""
    attack = ATTACKS[name]
    if isinstance(attack, LatentClassifierAttack):
        return attack.using(classifier=nn.Identity().eval()), torch.arange(len(y)) % 4
    return attack, y if attack.targeted else None


def achieved(
    attack: AutoencoderAttack, model: nn.Module, x: Tensor, v: Tensor, y: Tensor | None
) -> Tensor:
    """What the attack minimises, measured outside it."""
    reference = attack.reference(model, x if y is None else y)
    weight = attack.budget.c if isinstance(attack.budget, Penalty) else 0.0
    data = {"x": x, "reference": reference, "c": torch.full((len(x),), weight)}
    return attack.objective(model, v, data).loss


@pytest.mark.parametrize("name", ATTACKS)
def test_stays_inside_and_leaves_everything_as_found(
    name: str, curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    attack, goal = prepared(name, y)
    before, state, weights = (
        x.clone(),
        torch.get_rng_state(),
        [p.clone() for p in curved.parameters()],
    )
    found = attack(curved, x, goal)
    assert found.min() >= 0
    assert found.max() <= 1
    if attack.ball is not None:
        inside = attack.ball.project(found - x)
        torch.testing.assert_close(found - x, inside, atol=1e-5, rtol=0)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, w) for p, w in zip(curved.parameters(), weights, strict=True))
    assert all(p.grad is None and p.requires_grad for p in curved.parameters())
    assert torch.equal(found, attack(curved, x, goal)), "the same seeds give the same bits"


@pytest.mark.parametrize("name", ATTACKS)
def test_reaches_more_than_the_clean_input_and_noise(
    name: str, curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    attack, goal = prepared(name, y)
    found = achieved(attack, curved, x, attack(curved, x, goal), goal)
    ball = attack.ball or Ball(0.05)
    noise = (x + ball.sample(x, seeds(7, len(x)))).clamp(0, 1)
    if not isinstance(
        attack, LatentClassifierAttack
    ):  # which is ranked by margin, and leaves early
        assert (found <= achieved(attack, curved, x, x, goal)).all()
    assert found.mean() < achieved(attack, curved, x, noise, goal).mean()


@pytest.mark.parametrize("name", ATTACKS)
def test_alone_as_in_a_batch(name: str, curved: Curved, images: tuple[Tensor, Tensor]) -> None:
    model = curved.double()
    x, y = (part.double() for part in images)
    attack, goal = prepared(name, y)
    together = attack(model, x, goal)
    for i in range(3):
        one = None if goal is None else goal[i : i + 1]
        alone = attack(model, x[i : i + 1], one, seeds=seeds(0, len(x))[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "penalty"])
def test_a_ball_of_radius_zero_holds_the_input(
    name: str, curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    attack, goal = prepared(name, y)
    assert torch.equal(attack.at(0.0)(curved, x, goal), x)


@pytest.mark.parametrize("name", ["latent", "latent-damage", "classifier", "penalty"])
def test_attacks_on_codes_never_decode(
    name: str, curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    x, y = images
    attack, goal = prepared(name, y)
    attack(curved, x, goal)
    assert curved.decoded == 0


@pytest.mark.parametrize("solver", ["lbfgs", "adam", "scipy"])
def test_codes_are_attacked_without_a_decoder(
    solver: str, curved: Curved, images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*inputs: Tensor) -> Tensor:
        raise AssertionError("the decoder ran")

    monkeypatch.setattr(Curved, "decode", refuse)
    monkeypatch.setattr(Curved, "forward", refuse)
    attack = LatentAttack(Penalty(0.1), divergence="kl", solver=solver, steps=5)
    assert attack.sweep(curved, *images, weights=(0.1, 1.0)).shape == (2, *images[0].shape)


def test_scipy_starts_beside_the_input_and_ends_where_the_batched_solver_does(
    curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    attack = LatentAttack(Penalty(0.02), divergence="kl", steps=200)
    found = [replace(attack, solver=solver)(curved, *images) for solver in ("lbfgs", "scipy")]
    with torch.no_grad():
        y = curved.encode(images[1])
        ours, theirs = (
            losses.kl(curved.encode(v), y) + 0.02 * losses.squared_distance(v, images[0])
            for v in found
        )
    assert found[1].dtype == images[0].dtype
    assert float(ours.mean()) == pytest.approx(float(theirs.mean()), rel=0.015)
    with random.streams(seeds(0, 8)):
        start = replace(attack, solver="scipy")._start({"x": images[0].double()}, seeds(0, 8), 0)
    assert 0 < float((start - images[0]).abs().max()) <= 1e-8


def test_an_interrupt_ends_scipy_between_two_evaluations(
    curved: Curved, images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, encode = [], Curved.encode

    def tired(self: Curved, x: Tensor) -> Distribution:
        calls.append(len(x))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(self, x)

    monkeypatch.setattr(Curved, "encode", tired)
    with pytest.raises(KeyboardInterrupt):
        LatentAttack(Penalty(0.1), solver="scipy")(curved, *images)
    assert len(calls) == 5
    assert {p.dtype for p in curved.parameters()} == {torch.float32}


def test_the_target_is_encoded_once(curved: Curved, images: tuple[Tensor, Tensor]) -> None:
    with metered() as cost:
        LATENT(curved, *images)
    assert cost.forwards == 8 * (20 + 1 + 1)
    assert cost.backwards == 8 * 20


def test_restarts_never_hurt(curved: Curved, images: tuple[Tensor, Tensor]) -> None:
    x, _ = images
    once, more = (replace(ATTACKS["latent-damage"], restarts=n) for n in (1, 4))
    a, b = (achieved(attack, curved, x, attack(curved, x), None) for attack in (once, more))
    assert (b <= a + 1e-6).all()


def test_a_heavier_penalty_stays_closer(curved: Curved, images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    found = LatentAttack(Penalty(0.0)).sweep(curved, x, y, weights=(0.001, 0.1, 10.0))
    sizes = (found - x).flatten(2).norm(dim=2).mean(1)
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_classifier_on_codes_reads_the_label(
    curved: Curved, images: tuple[Tensor, Tensor]
) -> None:
    x, _ = images
    attack = LatentClassifierAttack(Ball(0.5)).using(classifier=nn.Identity().eval())
    labels = torch.arange(len(x)) % 4
    assert torch.equal(curved.encode(attack(curved, x, labels)).mean.argmax(1), labels)


# --- users' slips ---------------------------------------------------------------------------------


class NoEncoder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class TensorEncoder(NoEncoder):
    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


X = torch.rand(2, 1, 2, 2)
POINTS = Linear(torch.randn(2, 4)).eval()
SLIPS: dict[str, tuple[Callable[[], object], str]] = {
    "no targets": (lambda: LATENT(POINTS, X), "needs target images"),
    "other shape": (lambda: LATENT(POINTS, X, torch.rand(2, 1, 3, 3)), r"of shape \(2, 1, 2, 2\)"),
    "labels": (lambda: LATENT(POINTS, X, torch.tensor([1, 2])), "target image"),
    "bright target": (lambda: LATENT(POINTS, X, 255 * X.ceil()), "divide by 255"),
    "point mass": (lambda: replace(LATENT, divergence="kl")(POINTS, X, X), "stochastic encoder"),
    "no encoder": (lambda: LATENT(NoEncoder().eval(), X, X), "NoEncoder has no encode"),
    "tensor": (lambda: LATENT(TensorEncoder().eval(), X, X), "must return a distribution"),
    "train mode": (lambda: LATENT(Linear(torch.randn(2, 4)), X, X), "train mode"),
    "output": (lambda: OutputAttack(Ball(0.1))(nn.Flatten().eval(), X, X), "reconstruct shape"),
    "no network": (lambda: ATTACKS["classifier"](POINTS, X, torch.tensor([0, 1])), "classifier="),
    "narrow classifier": (
        lambda: LatentClassifierAttack(Ball(0.5)).using(classifier=nn.Linear(999, 2).eval())(
            POINTS, X, torch.tensor([0, 1])
        ),
        "does not take codes of shape",
    ),
    "divergence": (lambda: LatentAttack(Ball(0.1), divergence="js"), "divergence must be one of"),  # type: ignore[arg-type]
    "solver": (lambda: LatentAttack(Ball(0.1), solver="sgd"), "solver must be one of"),  # type: ignore[arg-type]
    "budget": (lambda: LatentAttack(0.1), "a Ball or a Penalty"),  # type: ignore[arg-type]
    "negative": (lambda: Penalty(-1.0), "zero or more"),
    "radius": (lambda: ATTACKS["penalty"].at(0.1), "has no radius"),
    "match": (lambda: OutputAttack(Ball(0.1), match="code"), "match must be"),  # type: ignore[arg-type]
    "steps": (lambda: LatentAttack(Ball(0.1), steps=0), "at least 1"),
    "scipy": (lambda: LatentAttack(Ball(0.1, "L2"), solver="scipy"), "single coordinates"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slips_are_answered_in_a_sentence(slip: str) -> None:
    call, sentence = SLIPS[slip]
    with pytest.raises(UserError, match=sentence):
        call()


# --- peers ----------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_reaches_the_latent_distance_of_art(
    curved: Curved,
    images: tuple[Tensor, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ART's feature adversaries, Linf 0.1, 100 steps: the same distance between codes, to 3 decimals."""
    monkeypatch.setenv("HOME", str(tmp_path))
    attacks = pytest.importorskip("art.attacks.evasion", reason="needs ART, of the peers extra")
    estimators = pytest.importorskip("art.estimators.classification")
    first, last = curved.trunk[1], nn.Linear(32, 4)
    last.weight.data, last.bias.data = (
        curved.trunk[3].weight[:4].data,
        curved.trunk[3].bias[:4].data,
    )
    means = nn.Sequential(nn.Sequential(nn.Flatten(), first, nn.Tanh(), last)).eval()
    towards = last.weight @ first.weight  # far targets, so that the ball binds everywhere
    y = torch.cat([towards > 0, towards < 0]).float().view(8, 1, 8, 8)
    x = 0.4 + 0.2 * images[0]
    estimator = estimators.PyTorchClassifier(
        means, nn.CrossEntropyLoss(), x.shape[1:], 4, clip_values=(0, 1), device_type="cpu"
    )
    peer = attacks.FeatureAdversariesPyTorch(
        estimator,
        delta=0.1,
        layer=0,
        max_iter=100,
        batch_size=8,
        step_size=0.01,
        random_start=False,
    )
    theirs = torch.from_numpy(peer.generate(x.numpy(), y.numpy()))
    ours = LatentAttack(Ball(0.1), steps=100)(curved, x, y)

    def distance(v: Tensor) -> Tensor:
        return (means(v) - means(y)).norm(dim=1)

    assert (ours - x).abs().max() <= 0.1 + 1e-6
    torch.testing.assert_close(distance(ours), distance(theirs), atol=5e-4, rtol=0)


def test_a_deceived_classifier_of_codes_is_driven_on_to_the_confidence_asked() -> None:
    generator = torch.Generator().manual_seed(2)
    model, head = Curved().eval(), nn.Linear(4, 3).eval()
    head.weight.data = torch.randn(3, 4, generator=generator)
    x, y = torch.rand(8, 1, 8, 8, generator=generator), torch.arange(8) % 3
    won = []
    for confidence in (0.0, 0.5, float("inf")):
        attack = LatentClassifierAttack(Ball(0.5), confidence=confidence, steps=30)
        found = attack.using(classifier=head)(model, x, y)
        won.append(losses.margin(head(model.encode(found).mean), y).detach())
    assert bool((won[2] >= won[1] - 1e-5).all())
    assert bool((won[1] >= won[0] - 1e-5).all())
    assert float(won[2].mean()) > float(won[0].mean())
    with pytest.raises(UserError, match="confidence must be zero or more"):
        LatentClassifierAttack(Ball(0.1), confidence=-1.0)


@pytest.mark.parametrize("eps", [0.1, 0.3])
def test_the_fast_gradient_sign_is_a_setting(images: tuple[Tensor, Tensor], eps: float) -> None:
    """One steepest step of the radius's length in an Linf ball is `x - eps sign(grad)`, cut to the box."""
    x, y = images
    model = Curved().eval()
    v = x.clone().requires_grad_()
    goal = model.encode(y).mean.detach()
    loss = losses.squared_distance(model.encode(v).mean, goal)
    (grad,) = torch.autograd.grad(loss.sum(), v)
    by_hand = (x - eps * grad.sign()).clamp(0, 1)
    with torch.no_grad():
        after = losses.squared_distance(model.encode(by_hand).mean, goal)
    wanted = torch.where((after < loss)[:, None, None, None], by_hand, x)
    attack = LatentAttack(Ball(eps), solver="steepest", steps=1, step_size=eps)
    torch.testing.assert_close(attack(model, x, y), wanted)
