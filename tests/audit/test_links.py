"""The audit of radio links: a code with known error rates, and links that a user might bring."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.audit.brought import Repeated, deaf
from trompe import zoo
from trompe.audit import LinkPlan, audit_link
from trompe.audit.links import LinkEstimate, attackers, bench, estimate_link
from trompe.audit.links.attackers import at_power, learned
from trompe.audit.links.bench import Bench
from trompe.audit.links.numbers import crossing
from trompe.audit.part import Store
from trompe.core.errors import UserError
from trompe.models import CommsAutoencoder, radius_of
from trompe.models.link_adapter import LinkAdapter, adapt_link
from trompe.reports import Constellation, Curve, Report, markdown, read

BROUGHT = "tests.audit.brought:repeated"
Audited = Callable[..., Report]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn little, on substitutes that are not trained."""
    monkeypatch.setattr(attackers, "_STEPS", 30)
    monkeypatch.setattr(attackers, "_STARTS", 1)
    monkeypatch.setattr(attackers, "_PAIRS", 4)
    monkeypatch.setattr(bench, "_TRIED", 5000)
    monkeypatch.setattr(zoo, "radio", untrained)


def untrained(how: zoo.Radio, **_: Any) -> CommsAutoencoder:
    return CommsAutoencoder(how.model, seed=how.seed).eval()


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """`audited(**plan)`: a small audit into `tmp_path / "out"`."""

    def do(progress: Any = None, **changes: Any) -> Report:
        levels = {"psr": (-6.0,), "snr": (0.0, 4.0, 8.0), "blocks": 20_000}
        plan = LinkPlan(**{"comms": BROUGHT, "out": tmp_path / "out", **levels, **changes})
        cost = LinkEstimate(plan.blocks, 1.0)
        return audit_link(plan, command="trompe audit --comms", progress=progress, cost=cost)

    return do


def gaussian_tail(x: float) -> float:
    return math.erfc(x / math.sqrt(2)) / 2


def test_a_link_of_the_users(audited: Audited, tmp_path: Path) -> None:
    report = audited()
    assert not report.partial
    for snr in (0.0, 4.0):  # a bit sent three times is as good as one of its energy
        found = report.metric(f"clean block error rate at {snr:g} dB")
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        truth = gaussian_tail(math.sqrt(2 * 10 ** (snr / 10)))
        assert found.low - 1e-3 <= truth <= found.high + 1e-3
    assert {finding.threat for finding in report.findings} >= {
        a.threat for a in attackers.ATTACKERS
    }
    assert read(tmp_path / "out") == report
    assert "data:image/svg+xml;base64," in (tmp_path / "out" / "report.html").read_text()
    assert "channel use" in markdown(report)
    kinds = [type(block) for section in report.sections for block in section.blocks]
    assert kinds.count(Constellation) == 1
    assert kinds.count(Curve) == 3
    assert all(
        block.log_y for s in report.sections for block in s.blocks if isinstance(block, Curve)
    )
    assert all(check.passed for check in report.doctor), report.verdict


def test_the_best_vector_against_a_repetition_is_known(tmp_path: Path) -> None:
    """With p along the block a bit errs as often as Q((1 - p) r) and Q((1 + p) r) in the mean."""
    link, psr, snr = LinkAdapter(Repeated()), -6.0, 4.0
    found, refused = learned(link, psr, snr, seed=0)
    assert refused == ""
    for way, delta in found:
        vector = torch.tensor(delta)
        assert float(vector.norm()) == pytest.approx(radius_of(psr, 3), rel=1e-6)
        if "arrivals" not in way:
            assert float(vector.sum().abs() / vector.norm()) == pytest.approx(3**0.5, rel=0.1), way
    plan = LinkPlan(BROUGHT, psr=(psr,), snr=(snr,), out=tmp_path)
    on = Bench("it", link, plan, None, 100_000, Store(tmp_path, ""))
    r, p = math.sqrt(2 * 10**0.4), 10 ** (psr / 20)
    truth = (gaussian_tail((1 - p) * r) + gaussian_tail((1 + p) * r)) / 2
    count = on.swept["white box"][psr]
    record = count.record()
    assert record.low is not None
    assert record.high is not None
    assert record.low * 0.9 <= truth <= record.high * 1.1


def test_hamming_has_no_code_beside_it_and_a_black_box_in_phase(audited: Audited) -> None:
    report = audited(comms="hamming-7-4", snr=(2.0, 4.0))
    at_four = report.metric("clean block error rate at 4 dB")
    assert at_four is not None
    assert at_four.value == pytest.approx(0.0121, abs=0.003)
    first = report.sections[0].blocks[0]
    assert isinstance(first, Curve)
    assert [line.label for line in first.series] == ["hamming-7-4"]
    assert report.metric("block error rate, black box, PSR -6 dB, Eb/N0 4 dB") is not None


def test_an_autoencoder_stands_beside_hamming(audited: Audited) -> None:
    report = audited(comms="mlp-7-4", psr=(-3.0,), snr=(-2.0, 0.0))
    first = report.sections[0].blocks[0]
    assert isinstance(first, Curve)
    assert len(first.series) == 2
    assert "trained in 8,000 steps" in report.sections[0].text
    assert report.metric("mlp-7-4: blocks received at PSR -3 dB") is not None


def test_what_was_interrupted_is_gone_on_with(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int | None, text: str) -> None:
        if "every attacker" in text:
            raise KeyboardInterrupt

    partial = audited(progress=stop)
    assert partial.partial
    assert "attackers at one level of noise" in partial.missing
    assert len(partial.sections) == 1
    monkeypatch.setattr(bench, "learned", lambda *_: pytest.fail("was learned before"))
    whole = audited(resume=True)
    assert not whole.partial
    name = "clean block error rate at 0 dB"
    assert whole.metric(name) == partial.metric(name)


def test_a_receiver_without_a_gradient_is_told(audited: Audited, tmp_path: Path) -> None:
    link = adapt_link(deaf())
    found, refused = learned(link, -3.0, 2.0, seed=0)
    assert "no gradient path" in refused
    assert {way for way, _ in found} == {"from one block towards its nearest"}
    assert (
        estimate_link(LinkPlan("tests.audit.brought:deaf", psr=(-3.0,), out=tmp_path)).seconds > 0
    )


def test_a_vector_for_two_dimensions_meets_a_link_in_phase_with_all_its_power() -> None:
    both = torch.tensor([1.0, 2.0, 2.0, 7.0, 7.0, 7.0])
    cut = at_power(both, 0.0, 3, 3)
    assert torch.allclose(cut, torch.tensor([1.0, 2.0, 2.0]) / 3**0.5)


def test_where_a_rising_curve_passes() -> None:
    assert crossing({-4.0: 1e-3, 0.0: 1e-1}, 1e-2) == pytest.approx(-2.0)
    assert math.isnan(crossing({-4.0: 1e-3, 0.0: 1e-1}, 0.5))


def transmits(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda s: factor * (1.0 - 2.0 * s)[:, None].expand(-1, 3)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"uses": 2.5}, "uses of a link must be a whole number"),
        ({"bits": 40}, "at most 12"),
        ({"transmit": transmits(math.nan)}, "holds NaN or infinities"),
        ({"transmit": lambda s: 3}, "returned int, not a tensor"),
        ({"receive": lambda y: y.view(7, 7)}, "receive failed on \\(2, 3\\)"),
        ({"receive": lambda y: y}, "expected a score for each of the 2 messages"),
        ({"fading": "rain"}, "fading must be one of"),
    ],
)
def test_what_is_no_link(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        adapt_link(Repeated(**wrong))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"psr": (-math.inf,)}, "without power"),
        ({"psr": (math.nan,)}, "between -100 and 100 dB"),
        ({"snr": ("loud",)}, "between -100 and 100 dB"),
        ({"snr": ()}, "1 to 100 levels"),
        ({"snr": tuple(range(-90, 90))}, "1 to 100 levels"),
        ({"blocks": 10}, "at least 1000"),
        ({"budget": 0.0}, "positive time"),
    ],
)
def test_plans_that_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LinkPlan(**wrong)


def test_powers_above_the_link_and_noise_above_the_signal_are_legal() -> None:
    plan = LinkPlan(psr=(6.0, -30.0), snr=(-5.0,))
    assert plan.psr == (-30.0, 6.0)
