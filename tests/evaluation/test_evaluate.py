"""`evaluate`, on models whose outcomes are known: who meets whom, what is judged, and what it costs."""

import io
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.evaluation.subjects import Noisy, Rejecting, Shift, Threshold, flat, truth
from trompe.attacks import CW, EOT, FGSM, PGD, Square
from trompe.attacks.transfer import Transfer
from trompe.core import random
from trompe.core.domains import Vectors
from trompe.core.errors import UserError
from trompe.core.execution import execution, metered
from trompe.core.geometry import Ball
from trompe.data import Dataset
from trompe.evaluation import Result, evaluate

X = flat(0.0, 0.2, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0)
Y = truth(X)


def same(a: Result, b: Result) -> None:
    """Equal but for the clock."""
    assert a.cases == b.cases
    timeless = [[replace(s, seconds=0.0) for s in result.stages] for result in (a, b)]
    assert timeless[0] == timeless[1]
    drop = {"seconds": 0.0, "created": ""}
    assert [replace(r, **drop) for r in a.records] == [replace(r, **drop) for r in b.records]


def test_a_linear_model_falls_where_its_margin_says() -> None:
    result = evaluate(Threshold(), PGD(Ball(0.1), steps=5), (X, Y), eps=(0.1, 0.2, 0.4, 0.6))
    assert result.clean_accuracy == 1
    assert [r.value for r in result.records[1:]] == [6 / 8, 4 / 8, 2 / 8, 0.0]
    assert [c.level for c in result.cases] == [3, 2, 1, 0, 0, 1, 2, 3]
    assert "robust accuracy at Linf 0.6: 0.000 [0.000, 0.324], n = 8" in str(result)


def test_an_attack_never_meets_who_has_fallen() -> None:
    first, second = Shift(by=0.1), Shift(by=0.2)
    wrong = Y.clone()
    wrong[0] = 1 - wrong[0]
    seeds = random.seeds(0, 8).tolist()
    evaluate(Threshold(), {"a": first, "b": second}, (X, wrong), eps=(0.2,))
    assert first.met == [seeds[i] for i in range(1, 8)]
    assert second.met == [seeds[i] for i in (1, 2, 5, 6, 7)]


def test_who_fell_at_a_radius_has_fallen_at_all_larger_ones() -> None:
    class Weary(Shift):
        def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
            return super().run(model, x, y, seeds) if self.ball.eps < 0.3 else x

    result = evaluate(Threshold(), Weary(by=0.2), (X, Y), eps=(0.2, 0.4))
    assert [r.value for r in result.records[1:]] == [0.5, 0.5]


def test_the_worst_case_is_no_better_than_each_attack_alone(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    x, _ = digits.tensors(slice(0, 64))
    y = model(x).argmax(1)
    suite = {
        "FGSM": FGSM(Ball(0.02)),
        "PGD": PGD(Ball(0.02), steps=5),
        "Square": Square(Ball(0.02), steps=20),
    }
    together = evaluate(model, suite, (x, y))
    alone = [evaluate(model, attack, (x, y)).robust_accuracy for attack in suite.values()]
    assert 0 < together.robust_accuracy <= min(alone) < 1
    assert sum(s.broken for s in together.stages) == 64 - together.records[1].counts["correct"]


@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_what_leaves_the_ball_is_projected_and_judged(norm: str) -> None:
    reach = {"Linf": 0.1, "L2": 0.2, "L1": 0.4}[norm]  # four pixels, each by 0.1
    result = evaluate(Threshold(), Shift(Ball(reach, norm), by=0.9), (X, Y))
    assert result.robust_accuracy == 6 / 8
    fallen = [c.distances[0][norm] for c in result.cases if c.attack]
    assert fallen == pytest.approx([reach, reach], rel=1e-5)


def test_what_leaves_the_domain_is_clipped() -> None:
    result = evaluate(Threshold(), Shift(Ball(5.0), by=5.0), (X, Y))
    assert max(c.distances[0]["Linf"] for c in result.cases) == 1.0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_the_input_itself(bad: float) -> None:
    class Broken(Shift):
        def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
            return torch.full_like(x, bad)

    result = evaluate(Threshold(), Broken(Ball(0.6)), (X, Y))
    assert result.robust_accuracy in (
        1.0,
        0.5,
    )  # an infinite value is clipped by the domain, a NaN undone
    assert all(c.distances[0]["Linf"] <= 0.6 + 1e-6 for c in result.cases if c.attack)


def test_another_shape_is_refused() -> None:
    class Cropped(Shift):
        def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
            return x[..., 1:]

    with pytest.raises(UserError, match="Cropped returned shape"):
        evaluate(Threshold(), Cropped(), (X, Y))


def test_passes_are_counted_exactly() -> None:
    model = Threshold()
    suite = [PGD(Ball(0.3), steps=7, early_stop=False), Square(Ball(0.3), steps=9)]
    with metered() as cost:
        result = evaluate(model, suite, (X, Y), eps=(0.1, 0.3), batch=3)
    assert (cost.forwards, cost.backwards) == (model.counts["forwards"], model.counts["backwards"])
    by_stage = sum(s.forwards for s in result.stages)
    assert sum(r.forwards for r in result.records[1:]) == by_stage < cost.forwards
    assert sum(s.backwards for s in result.stages) == cost.backwards


def test_survival_is_that_of_the_saved_file(digits: Dataset) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    x, _ = digits.tensors(slice(0, 355))
    y = model(x).argmax(1)
    attack = FGSM(Ball(0.013))
    found = attack(model, x, y, seeds=random.seeds(0, 355))
    found = torch.where((model(found).argmax(1) != y).view(-1, 1, 1, 1), found, x)
    wrong = 0
    for image, label in zip(found, y, strict=True):
        file = io.BytesIO()
        pixels = (image[0] * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(file, "PNG")
        read = torch.from_numpy(np.asarray(Image.open(file)).copy())
        wrong += int(model(read[None, None] / 255).argmax() != label)
    record = evaluate(model, attack, (x, y)).records[1]
    assert record.extra["wrong when delivered"] == wrong / 355
    assert record.extra["wrong when delivered"] != record.extra["wrong"]


@pytest.mark.parametrize("batch", [1, 3, 8, 100])
def test_results_do_not_depend_on_the_batch(batch: int) -> None:
    suite = {"PGD": PGD(Ball(0.2), steps=3), "Square": Square(Ball(0.2), steps=9)}
    model = Noisy(0.1)
    whole = evaluate(model, suite, (X, Y), eps=(0.1, 0.2), draws=5)
    parts = evaluate(model, suite, (X, Y), eps=(0.1, 0.2), draws=5, batch=batch)
    assert parts.cases == whole.cases
    assert [r.counts for r in parts.records] == [r.counts for r in whole.records]


def test_all_forms_of_data_give_the_same() -> None:
    attack = PGD(Ball(0.2), steps=3)
    pixels = (X * 255).round().to(torch.uint8)
    data = Dataset("greys", pixels, Y, ("dark", "light"))
    x, y = data.tensors()
    assert y is not None

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        yield x[:5], y[:5]
        yield x[5:], y[5:]

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=3)
    forms = [data, (x, y), stream(), [(x, y)], loader]
    results = [evaluate(Threshold(), attack, form, batch=3).cases for form in forms]
    assert all(result == results[0] for result in results)


def test_vectors_are_inputs_too() -> None:
    x = torch.tensor([[0.3, 0.0], [-2.0, 1.0], [0.0, 4.0]])
    attack = PGD(Ball(1.0, "L2"), steps=10, domain=Vectors())
    result = evaluate(nn.Identity().eval(), attack, (x, torch.tensor([0, 1, 1])))
    assert [c.level for c in result.cases] == [0, -1, -1]


# Randomness


def test_a_random_model_is_judged_in_expectation() -> None:
    """P(right) = Phi(|mean - 1/2| / spread): no attack at radius zero changes it, and none may seem to."""
    model = Noisy(0.3)
    x = flat(*([0.65] * 200))
    y = torch.ones(200, dtype=torch.int64)
    suite = {"PGD": PGD(Ball(0.0), steps=5), "Square": Square(Ball(0.0), steps=20)}
    result = evaluate(model, suite, (x, y), draws=20)
    assert result.clean_accuracy == pytest.approx(0.6915, abs=0.02)
    assert result.robust_accuracy == result.clean_accuracy
    some_draw = result.records[1].extra["wrong on any draw"]
    assert some_draw == pytest.approx(1 - 0.6915**20, abs=0.01)


def test_reported_draws_chose_nothing() -> None:
    """Here an attack can only choose which way the noise counts: by luck, which must not be reported.

    Of four draws the better way is wrong on 0.69, and of twelve examples once drawn nearly all are; of
    fresh draws either way is wrong on a half.
    """

    class Lottery(Shift):
        def run(self, model: nn.Module, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
            with random.streams(seeds, int(1000 * self.by)):
                tilt = 0.01 * random.signs((len(x), 1, 1, 1), x)
            return torch.cat([x[..., :1] + tilt, x[..., 1:]], -1)

    def fickle(x: Tensor) -> Tensor:
        way = torch.where(x[:, 0, 0, 0] >= x[:, 0, 0, 1], 1.0, -1.0)
        m = way * random.normal((len(x),), x)
        return torch.stack([-m, m], 1)

    suite = {str(k): Lottery(Ball(0.1), by=k / 1000) for k in range(12)}
    y = torch.ones(300, dtype=torch.int64)
    result = evaluate(Fixed(fickle), suite, (flat(*([0.5] * 300)), y), draws=4)
    assert sum(c.level == 0 for c in result.cases) > 75, "luck was there to be had"
    assert result.robust_accuracy == pytest.approx(0.5, abs=0.06)


def test_an_attack_on_a_random_model_is_seen_to_work() -> None:
    x = flat(*([0.65] * 60))
    y = torch.ones(60, dtype=torch.int64)
    with execution(draws=10):
        result = evaluate(Noisy(0.1), PGD(Ball(0.3), steps=5), (x, y))
    assert result.clean_accuracy == pytest.approx(0.933, abs=0.03)
    assert result.robust_accuracy == pytest.approx(0.067, abs=0.03)
    assert result.records[1].extra["mean Linf"] == pytest.approx(0.3, abs=0.01)


def test_noise_of_the_global_generator_flatters_nobody() -> None:
    x = flat(*([0.65] * 200))
    y = torch.ones(200, dtype=torch.int64)
    result = evaluate(Noisy(0.3, controlled=False), PGD(Ball(0.0), steps=5), (x, y), draws=20)
    assert result.robust_accuracy == pytest.approx(0.6915, abs=0.03)


def test_means_are_those_of_the_radius() -> None:
    """On a random model a worst input may change at a larger radius; smaller ones keep their own."""
    x = flat(*([0.6] * 30))
    y = torch.ones(30, dtype=torch.int64)
    with execution(draws=5):
        result = evaluate(Noisy(0.05), PGD(Ball(1.0), steps=5), (x, y), eps=(0.15, 0.3), draws=10)
    for record, eps in zip(result.records[1:], (0.15, 0.3), strict=True):
        assert record.extra["mean Linf"] <= eps + 1e-6


# Rejection


def test_correct_wrong_and_rejected_sum_to_n() -> None:
    result = evaluate(Rejecting(0.1), Shift(by=0.2), (X, Y), eps=(0.2, 0.4))
    assert result.clean_accuracy == 6 / 8
    for record in result.records[1:]:
        assert sum(record.counts.values()) == 8
        assert record.counts["rejected"] == 2
        assert record.value == record.counts["correct"] / 8


def test_a_wrong_answer_that_is_rejected_is_no_success() -> None:
    """Moved by 0.2, the image at 0.65 is read as the other class, and refused."""
    result = evaluate(Rejecting(0.1), Shift(Ball(0.2), by=0.2), (flat(0.65), torch.tensor([1])))
    assert result.records[1].counts == {"correct": 1, "wrong": 0, "rejected": 0}


def test_counts_of_a_random_model_are_whole_and_sum_to_n() -> None:
    for n in (3, 5, 7):
        x = flat(*([0.55] * n))
        y = torch.ones(n, dtype=torch.int64)
        record = evaluate(Noisy(0.3), FGSM(Ball(0.1)), (x, y), draws=7).records[1]
        assert sum(record.counts.values()) == n


# Resuming


def test_a_second_call_makes_nothing_anew(tmp_path: Path) -> None:
    attack = PGD(Ball(0.2), steps=3)
    first = evaluate(Threshold(), attack, (X, Y), batch=3, folder=tmp_path)
    model = Threshold()
    again = evaluate(model, attack, (X, Y), batch=3, folder=tmp_path)
    same(first, again)
    assert model.counts["forwards"] == 0
    assert first.records[1].seconds == again.records[1].seconds


def test_a_line_cut_short_is_made_again(tmp_path: Path) -> None:
    attack = PGD(Ball(0.2), steps=3)
    first = evaluate(Threshold(), attack, (X, Y), batch=3, folder=tmp_path)
    path = tmp_path / "cases.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    same(first, evaluate(Threshold(), attack, (X, Y), batch=3, folder=tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"[]\n3\n", b"{}\n", b'{"a": 1}\n{"b"\n'])
def test_a_damaged_log_is_started_afresh(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cases.jsonl").write_bytes(content)
    attack = PGD(Ball(0.2), steps=3)
    same(
        evaluate(Threshold(), attack, (X, Y), folder=tmp_path),
        evaluate(Threshold(), attack, (X, Y)),
    )


def _other(what: str) -> dict[str, object]:
    base: dict[str, object] = {
        "model": Threshold(),
        "attack": PGD(Ball(0.2), steps=3),
        "data": (X, Y),
        "seed": 0,
    }
    changes: dict[str, object] = {
        "model": Threshold(gain=3.0),
        "attack": PGD(Ball(0.2), steps=4),
        "data": (X.flip(0).contiguous(), Y.flip(0)),
        "seed": 1,
    }
    return {**base, what: changes[what]}


@pytest.mark.parametrize("what", ["model", "attack", "data", "seed"])
def test_nothing_else_is_resumed(tmp_path: Path, what: str) -> None:
    evaluate(**_other("seed") | {"seed": 0}, folder=tmp_path)  # type: ignore[arg-type]
    other = _other(what)
    model = other["model"]
    assert isinstance(model, Threshold)
    resumed = evaluate(**other, folder=tmp_path)  # type: ignore[arg-type]
    assert model.counts["forwards"] > 0
    same(resumed, evaluate(**other))  # type: ignore[arg-type]


def test_another_surrogate_is_not_resumed(tmp_path: Path) -> None:
    blind = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    attack = Transfer(PGD(Ball(0.2), steps=3))
    evaluate(Threshold(), attack.using(surrogate=blind), (X, Y), folder=tmp_path)
    other = evaluate(Threshold(), attack.using(surrogate=Threshold()), (X, Y), folder=tmp_path)
    assert other.robust_accuracy == 0.5


def test_another_policy_is_not_resumed(tmp_path: Path) -> None:
    x, y = X[2:6], Y[2:6]
    once = evaluate(Noisy(0.1), PGD(Ball(0.1), steps=2), (x, y), folder=tmp_path)
    with execution(draws=8):
        often = evaluate(Noisy(0.1), PGD(Ball(0.1), steps=2), (x, y), folder=tmp_path)
    assert often.stages[0].forwards > once.stages[0].forwards


def test_only_the_batches_that_changed_are_made_again(tmp_path: Path) -> None:
    attack = PGD(Ball(0.2), steps=3)
    evaluate(Threshold(), attack, [(X[:4], Y[:4]), (X[4:], Y[4:])], folder=tmp_path)
    model = Threshold()
    x = torch.cat([X[:4], X[4:].flip(0)])
    y = torch.cat([Y[:4], Y[4:].flip(0)])
    changed = evaluate(model, attack, [(x[:4], y[:4]), (x[4:], y[4:])], folder=tmp_path)
    assert changed.cases == evaluate(Threshold(), attack, (x, y), batch=4).cases
    shorter = evaluate(Threshold(), attack, [(x[:4], y[:4])], folder=tmp_path)
    assert len(shorter.cases) == 4


SCRIPT = """
import os, signal, sys, torch
from tests.evaluation.subjects import Noisy, flat, truth
from trompe.attacks import PGD
from trompe.core.geometry import Ball
from trompe.evaluation import evaluate

x = flat(*torch.linspace(0, 1, 12).tolist())
folder = None if sys.argv[1] == "-" else sys.argv[1]
die = int(sys.argv[2])

def told(done, total, text):
    if done == die:
        os.kill(os.getpid(), signal.SIGKILL)

result = evaluate(Noisy(0.1), PGD(Ball(0.2), steps=3), (x, truth(x)), eps=(0.1, 0.2), batch=4,
                  folder=folder, progress=told, draws=5)
print(len(result.cases), [r.value for r in result.records], result.cases)
"""


def test_after_a_kill_the_result_is_the_same(tmp_path: Path) -> None:
    def run(folder: str, die: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SCRIPT, folder, str(die)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    killed = run(str(tmp_path), 8)
    assert killed.returncode == -9
    assert len((tmp_path / "cases.jsonl").read_text().splitlines()) == 3
    resumed, whole = run(str(tmp_path), -1), run("-", -1)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole.stdout
    assert resumed.stdout.startswith("12 ")


def test_a_deadline_leaves_what_was_done_and_says_so(tmp_path: Path) -> None:
    attack = PGD(Ball(0.2), steps=3)
    part = evaluate(
        Threshold(), attack, (X, Y), batch=3, deadline=time.monotonic(), folder=tmp_path
    )
    assert not part.complete
    assert len(part.cases) == part.records[1].n == 3
    rest = evaluate(Threshold(), attack, (X, Y), batch=3, folder=tmp_path)
    assert rest.complete
    same(rest, evaluate(Threshold(), attack, (X, Y), batch=3))


def test_memory_does_not_grow_with_the_images() -> None:
    """Past images leave: a thousand batches of 200 kB each never stand together."""

    def stream(batches: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(batches):
            x = torch.rand(4, 3, 64, 64)
            yield x, truth(x)

    attack = FGSM(Ball(0.0))
    evaluate(Threshold(), attack, stream(2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n = len(evaluate(Threshold(), attack, stream(400)).cases)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    tracemalloc.start()  # only now: tracing scatters small blocks between the images
    evaluate(Threshold(), attack, stream(100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 1600
    assert peak < 4e6, "a case is a kilobyte or two, not an image"
    assert grown < 40_000, "kilobytes; the images of all batches are 79 MB"


# At the door


class Fixed(nn.Module):
    """A classifier whose logits are a function of its input."""

    def __init__(self, of: object) -> None:
        super().__init__()
        self.of = of
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.of(x)  # type: ignore[operator, no-any-return]


def _half_trained() -> nn.Module:
    model = nn.Sequential(nn.Dropout(), Threshold()).eval()
    model[0].train()
    return model


def logits(x: Tensor) -> Tensor:
    m = x.flatten(1).mean(1) - 0.5
    return torch.stack([-m, m], 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": (X * 255, Y)}, "divide by 255"),
        ({"data": (X - 0.5, Y)}, "got a minimum of"),
        ({"data": (X * torch.nan, Y)}, "must be finite"),
        ({"data": ((X * 255).long(), Y)}, "expected floating-point images"),
        ({"data": (X[:, 0], Y)}, "shape"),
        ({"data": (X[:0], Y[:0])}, "empty"),
        ({"data": []}, "empty"),
        ({"data": 3}, "expected a data set"),
        ({"data": [(X, Y, Y)]}, "pairs"),
        ({"data": (X.numpy(), Y.numpy())}, "pairs"),
        ({"data": (X, Y[:5])}, "8 inputs come with 5 labels"),
        ({"data": (X, None)}, "no labels"),
        ({"data": (X, Y + 1)}, "labels must lie in 0..1"),
        ({"data": (X, Y - 1)}, "labels must lie in 0..1"),
        ({"data": (X, Y + 7)}, "labels must lie in 0..1"),
        ({"data": (X, Y.float())}, "whole-number labels"),
        ({"data": (X, Y[:, None])}, "whole-number labels"),
        ({"attack": []}, "no attack"),
        ({"attack": {}}, "no attack"),
        ({"attack": [3]}, "expected attacks"),
        ({"attack": FGSM}, "expected attacks"),
        ({"eps": ()}, "radii"),
        ({"eps": (0.1, -1.0)}, "radii"),
        ({"eps": (torch.nan,)}, "radii"),
        ({"batch": 0}, "at least 1"),
        ({"model": nn.Sequential(Threshold())}, "train mode"),
        ({"model": _half_trained()}, "train mode"),
        ({"model": Fixed(lambda x: logits(x).softmax(1))}, "probabilities"),
        ({"model": Fixed(lambda x: logits(x)[:, :1])}, "one number per"),
        ({"model": Fixed(lambda x: logits(x)[:, 0])}, "one number per"),
        ({"model": Fixed(lambda x: logits(x) * torch.nan)}, "NaN"),
        ({"model": Fixed(lambda x: x)}, "logits"),
        ({"model": Fixed(lambda x: None)}, "logits"),
        ({"model": nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()).eval()}, "inputs of shape"),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).eval()}, "inputs of shape"),
        ({"model": Fixed(lambda x: logits(x.detach()))}, "no gradient path"),
    ],
)
def test_slips_are_told_in_one_sentence(change: dict[str, object], told: str) -> None:
    base = {"model": Threshold(), "attack": PGD(Ball(0.1), steps=2), "data": (X, Y)}
    with pytest.raises(UserError, match=told) as caught:
        evaluate(**{**base, **change})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_labels_out_of_range_are_told_in_a_later_batch_too() -> None:
    with pytest.raises(UserError, match="labels must lie in"):
        evaluate(Threshold(), FGSM(Ball(0.1)), [(X, Y), (X, Y + 1)])


def test_models_without_parameters_and_with_two_classes_work() -> None:
    two = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    for model in (Threshold(), two, nn.Sequential(nn.Flatten()).eval()):
        result = evaluate(model, [PGD(Ball(0.1), steps=2), Square(Ball(0.1), steps=5)], (X, Y))
        assert result.records[1].n == 8


def test_an_answer_that_is_nan_is_wrong() -> None:
    model = Fixed(
        lambda x: logits(x).where((x.flatten(1)[:, :1] > 0) | (x.amax() > 0.9), torch.nan)
    )
    x = flat(0.95, 0.3)
    x[1, 0, 0, 0] = 0.0
    holed = Fixed(lambda x: torch.where(x.flatten(1)[:, :1] == 0, torch.nan, logits(x)))
    result = evaluate(holed, FGSM(Ball(0.0)), (x, torch.tensor([1, 0])))
    assert result.clean_accuracy == 0.5
    assert model is not None


def test_the_model_and_the_generator_are_left_as_found() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    state = torch.get_rng_state()
    x, y = X.clone(), Y.clone()
    evaluate(model, PGD(Ball(0.1), steps=2), (x, y))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, X)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_a_targeted_attack_is_not_judged_by_the_labels_it_was_given() -> None:
    model = nn.Flatten().eval()
    x, y = torch.rand(4, 1, 1, 3), torch.tensor([0, 1, 2, 0])
    for attack in (PGD(Ball(0.1), targeted=True), CW(targeted=True), EOT(CW(targeted=True))):
        with pytest.raises(UserError, match="targeted"):
            evaluate(model, attack, (x, y))
