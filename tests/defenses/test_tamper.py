"""Detectors of tampered codes: closed forms for Gaussian codes, and broken variants that miss them."""

import math

import pytest
import torch
from sklearn.covariance import ledoit_wolf
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.core.protocols import Detector
from trompe.defenses import Guarded, Mahalanobis, OutputUncertainty, Tail
from trompe.defenses.detectors import CalibratedDetector
from trompe.defenses.tamper import shrunk_covariance

MIX = torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64)
CENTRE = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
SHIFT = (
    torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) @ MIX.T
)  # of length one, as S^-1 measures it


def codes(n: int, seed: int = 0, k: int | None = None) -> Tensor:
    """Correlated Gaussian codes `(n, 3)`, or `(n, k, 3)`."""
    with random.streams(random.seeds(seed, n)):
        shape = (n, 3) if k is None else (n, k, 3)
        return CENTRE + random.normal(shape, CENTRE) @ MIX.T


def auc(clean: Tensor, tampered: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    truth = [0] * len(clean) + [1] * len(tampered)
    return float(roc_auc_score(truth, torch.cat([clean, tampered]).numpy()))


def noncentral_auc(degrees: int, noncentrality: float) -> float:
    """`P(chi2(D) < chi2(D, lambda))` by quadrature."""
    from scipy import integrate, stats

    def below(x: float) -> float:
        return float(stats.chi2.cdf(x, degrees) * stats.ncx2.pdf(x, degrees, noncentrality))

    return float(integrate.quad(below, 0, 200)[0])


@pytest.mark.parametrize("k", [None, 9])
def test_mahalanobis_is_chi_squared_and_noncentral_where_shifted(k: int | None) -> None:
    """The shift's noncentrality is `k d' S^-1 d`, so that k codes of one sender show it sooner."""
    detector = Mahalanobis(codes(20000, seed=1))
    clean = detector(codes(8000, seed=2, k=k))
    moved = detector(codes(8000, seed=3, k=k) + 0.5 * SHIFT)
    assert float(clean.mean()) == pytest.approx(3, abs=0.1)
    assert float(clean.var()) == pytest.approx(6, abs=0.5)
    noncentrality = 0.25 * (k or 1)
    assert float(moved.mean()) == pytest.approx(3 + noncentrality, abs=0.15)
    assert auc(clean, moved) == pytest.approx(noncentral_auc(3, noncentrality), abs=0.012)


def test_the_tail_of_one_coordinate_has_the_power_of_the_two_sided_test() -> None:
    """For one coordinate, `P(|z + d| > c) = Phi(d - c) + Phi(-d - c)`."""
    from scipy.stats import norm

    sample = codes(20000, seed=1)[:, :1]
    detector = Tail(sample).at_level(0.005)
    moved = codes(8000, seed=2)[:, :1] + 2.0 * sample.std()
    caught = (detector(moved) > detector.threshold).double().mean()
    power = norm.cdf(2 - 2.807) + norm.cdf(-2 - 2.807)
    assert float(caught) == pytest.approx(power, abs=0.02)


def test_the_family_wise_level_holds_where_each_coordinates_own_does_not() -> None:
    with random.streams(random.seeds(0, 12000)):
        clean = random.normal((12000, 50))
    detector = Tail(clean[:8000])
    scores = detector(clean[8000:])
    assert float((scores > 2.807).double().mean()) == pytest.approx(1 - 0.995**50, abs=0.03)
    detector.at_level(0.05)
    assert float((scores > detector.threshold).double().mean()) == pytest.approx(0.05, abs=0.015)
    assert float(detector.p_value(detector.threshold)) == pytest.approx(0.05, abs=1e-4)


def test_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    for n in (4, 30):
        sample = codes(n)
        torch.testing.assert_close(
            shrunk_covariance(sample), torch.tensor(ledoit_wolf(sample.numpy())[0])
        )


def test_fewer_codes_than_coordinates_are_enough() -> None:
    with random.streams(random.seeds(0, 20)):
        few = random.normal((20, 64))
    assert bool(Mahalanobis(few)(few).isfinite().all())


@pytest.mark.parametrize("kind", [Mahalanobis, Tail])
def test_a_coordinate_that_never_varies_may_not_begin_to(kind: type[CalibratedDetector]) -> None:
    sample = codes(200)
    sample[:, 1] = 2.0
    detector = kind(sample).calibrate(sample, fpr=0.05)  # type: ignore[call-arg]
    moved = sample[:5] + torch.tensor([0.0, 1.0, 0.0])
    assert bool((detector(moved) > detector.threshold).all())


def test_uncertainty_is_entropy_or_what_the_largest_probability_leaves() -> None:
    shares = torch.tensor([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    logits = shares.log()
    entropy = OutputUncertainty(lambda z: 2 * z, lambda x: x / 2)(logits)
    expected = [math.log(2), -0.9 * math.log(0.9) - 0.1 * math.log(0.1), 0.0]
    assert entropy.tolist() == pytest.approx(expected, abs=1e-6)
    left = OutputUncertainty(nn.Identity(), nn.Identity(), "confidence")(logits)
    assert left.tolist() == pytest.approx([0.5, 0.1, 0.0], abs=1e-6)


@pytest.mark.parametrize("kind", [Mahalanobis, Tail])
def test_detectors_of_codes_answer_the_protocol(kind: type[CalibratedDetector]) -> None:
    detector = kind(codes(500))  # type: ignore[call-arg]
    assert isinstance(detector, Detector)
    assert not detector.training
    detector.calibrate(codes(999, seed=1), fpr=0.05)
    assert float((detector(codes(4000, seed=2)) > detector.threshold).double().mean()) < 0.07
    guarded = Guarded(nn.Identity(), [detector])
    assert guarded.accept(CENTRE[None]).tolist() == [True]
    assert guarded.accept(CENTRE[None] + 99).tolist() == [False]
    z = codes(3).requires_grad_()
    assert bool((torch.autograd.grad(detector(z).sum(), z)[0] != 0).any())
    again = kind(codes(9, seed=5))  # type: ignore[call-arg]
    again.load_state_dict(detector.state_dict())
    assert torch.equal(again(codes(5)), detector(codes(5)))


class Uncentred(Mahalanobis):
    def _moved(self, codes: Tensor) -> Tensor:
        return super()._moved(codes) + self.mean


class Transposed(Mahalanobis):
    def forward(self, codes: Tensor) -> Tensor:
        return (self._moved(codes) @ self.whiten.T).square().sum(1)


class NotGrown(Mahalanobis):
    def _moved(self, codes: Tensor) -> Tensor:
        moved = super()._moved(codes)
        return moved if codes.ndim == 2 else moved / math.sqrt(codes.shape[1])


@pytest.mark.parametrize("broken", [Uncentred, Transposed, NotGrown])
def test_a_broken_distance_is_no_chi_squared(
    broken: type[Mahalanobis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Mahalanobis", broken)
    with pytest.raises(AssertionError):
        test_mahalanobis_is_chi_squared_and_noncentral_where_shifted(9)


class OneSided(Tail):
    def forward(self, codes: Tensor) -> Tensor:
        return (self._moved(codes) / self.scale).amax(1)


class PerCoordinate(Tail):
    def at_level(self, level: float) -> "PerCoordinate":
        self.threshold.fill_(float(-torch.special.ndtri(torch.tensor(level / 2).double())))
        return self


@pytest.mark.parametrize("broken", [OneSided, PerCoordinate])
def test_a_broken_tail_does_not_hold_its_level(
    broken: type[Tail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Tail", broken)
    with pytest.raises(AssertionError):
        test_the_family_wise_level_holds_where_each_coordinates_own_does_not()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Mahalanobis(torch.zeros(4)), "at least two clean ones"),
        (lambda: Tail(torch.zeros(1, 4)), "at least two clean ones"),
        (lambda: Tail(torch.zeros(5, 2)), "are the same"),
        (lambda: Tail(torch.tensor([[0.0], [math.nan]])), "finite"),
        (lambda: Tail(codes(9)).at_level(1.0), "between 0 and 1"),
        (lambda: Mahalanobis(codes(9))(torch.zeros(2, 4)), r"expected codes of shape \(B, 3\)"),
        (lambda: OutputUncertainty(nn.Identity(), nn.Identity(), "doubt"), "kind must be"),
    ],
)
def test_slips_are_told(make, told) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=told):
        make()
