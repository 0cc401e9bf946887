"""The toys: points where they are said to be, streams that never repeat, classes that the oracle gives."""

import pytest
import torch

from trompe.core.errors import UserError
from trompe.data import Features, Spheres, Stream, load
from trompe.models import QuadraticConfig, QuadraticNet
from trompe.training import ClassifierStep, train


def test_points_spread_evenly_over_their_spheres() -> None:
    """Of a uniform point the coordinates have mean 0, variance r^2 / n, and no correlation."""
    rule = Spheres(5)
    x, y = rule.draw(40_000, torch.Generator().manual_seed(0))
    for k, radius in enumerate(rule.radii):
        on = x[y == k]
        assert torch.allclose(on.norm(dim=1), torch.full((len(on),), radius))
        assert float(on.mean(0).abs().max()) < 0.02
        assert torch.allclose(on.T @ on / len(on), torch.eye(5) * radius**2 / 5, atol=0.005)
    assert float(y.float().mean()) == pytest.approx(0.5, abs=0.01)


def test_a_batch_is_a_function_of_seed_and_number_and_no_two_share_a_point() -> None:
    stream = Stream(Spheres(8), size=16)
    batches = [stream.at(number)[0] for number in range(50)]
    assert torch.equal(stream.at(7)[0], batches[7])
    points = torch.cat([*batches, *(Stream(Spheres(8), 16, seed=1).at(k)[0] for k in range(50))])
    assert len(points.unique(dim=0)) == len(points)


def test_processes_share_a_batch() -> None:
    stream = Stream(Features(), size=6)
    whole, parts = stream.at(3), [stream.at(3, rank, 2) for rank in range(2)]
    for place, values in enumerate(whole):
        assert torch.equal(torch.stack([part[place] for part in parts], 1).flatten(0, 1), values)


def test_no_draw_touches_the_global_generator() -> None:
    before = torch.get_rng_state()
    Stream(Spheres(), 4).at(0)
    load("spheres")
    assert torch.equal(before, torch.get_rng_state())


def test_a_stream_trains() -> None:
    """Where the network may see every direction the spheres part at a threshold, and soon."""
    model = QuadraticNet(QuadraticConfig(6, 6))
    stream = Stream(Spheres(6), size=128, epoch=10)
    assert len(stream) == len(list(stream)) == 10
    history = train(ClassifierStep(model, lr=0.1), stream, epochs=40, progress=False, log=False)
    assert history.values["accuracy"][-1] > 0.95


@pytest.mark.parametrize("name", ["spheres", "features"])
def test_fixed_sets_are_held_out_from_each_other(name: str) -> None:
    train_set, test_set = load(name, "train"), load(name, "test")
    both = torch.cat([train_set.x, test_set.x])
    assert len(both.unique(dim=0)) == len(both) == 20_000
    assert load(name, "test").checksum == test_set.checksum


def test_the_oracle_tells_the_classes_and_the_third_coordinate_does_too() -> None:
    rule, (x, y) = Features(), load("features").tensors()
    assert y is not None
    assert torch.equal(rule.oracle(x) > 0, y == 1)
    assert torch.equal(x[:, 0] + x[:, 2] > 0, y == 1)
    assert float(rule.oracle(x).abs().min()) >= rule.gap - 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spheres(1), "two dimensions or more, got 1"),
        (lambda: Spheres(radii=(1.0, 0.8)), "must rise from above zero"),
        (lambda: Features(small=0), "must be above 0"),
        (lambda: Stream(Spheres(), 0), "must be at least 1, got 0 and 1000"),
    ],
)
def test_slips_are_told(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=message):
        make()
