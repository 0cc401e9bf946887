"""The loop: it trains, ends where it should, leaves things as found, and says what is wrong."""

import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.training import Batches, ClassifierStep, constant, train
from trompe.training.loop import CHECKPOINT
from trompe.training.monitor import bar


def separable(n: int = 64) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return x, (x[:, 0] > 0).long()


def classifier(**options: Any) -> ClassifierStep:
    torch.manual_seed(1)
    return ClassifierStep(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), **options)


def weights(step: ClassifierStep) -> Tensor:
    return torch.cat([p.detach().flatten() for p in step.model.parameters()])


def quick(step: Any, batches: Any = None, **options: Any) -> Any:
    batches = Batches(*separable(), size=16) if batches is None else batches
    return train(step, batches, progress=False, **{"steps": 40, **options})


def test_it_trains_and_tells_how() -> None:
    step = classifier(lr=0.05)
    history = quick(step, steps=120)
    assert history.total == 120
    assert history.resumed == 0
    assert history.steps == (50, 100, 120)
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert history.values["accuracy"][-1] > 0.95
    assert history.seconds > 0


def test_epochs_count_passes_over_the_batches() -> None:
    assert quick(classifier(), steps=None, epochs=2.5).total == 10
    assert quick(classifier(), [separable(4)] * 3, steps=None, epochs=2).total == 6


def test_same_seed_same_bits_and_the_global_generator_is_untouched() -> None:
    def once(seed: int) -> Tensor:
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        step = ClassifierStep(net)
        before = torch.get_rng_state()
        quick(step, seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        return weights(step)

    assert torch.equal(once(0), once(0))
    assert not torch.equal(once(0), once(1))


def test_modes_are_given_back() -> None:
    step = classifier()
    step.model.eval()
    step.model[0].train()  # type: ignore[index]
    seen = []
    step.model[2].register_forward_hook(lambda m, *_: seen.append(m.training))  # type: ignore[index]
    quick(step, steps=1)
    assert seen == [True]
    assert [part.training for part in step.model.modules()] == [False, True, False, False]


def test_the_schedule_multiplies_the_rate() -> None:
    step = classifier(lr=0.1)
    rates = []
    step.optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    quick(step, steps=101)
    assert rates[0] == pytest.approx(0.004)
    assert max(rates) == rates[30] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(1e-5)


def test_a_step_can_be_trained_again() -> None:
    step = classifier(lr=0.1)
    quick(step)
    assert step.optimizer.param_groups[0]["lr"] == 0.1


def test_an_accelerator_that_is_not_there_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="cannot train on 1 x 'cuda' here"):
        quick(classifier(), accelerator="cuda")


class Noises:
    """A step that remembers the noise it met, for each example."""

    def __init__(self) -> None:
        self.met: dict[tuple[int, int], float] = {}
        self.number = 0

    def __call__(self, *batch: Tensor) -> Mapping[str, Tensor]:
        drawn = random.normal((len(batch[0]), 1))
        for index, value in zip(batch[-1].tolist(), drawn.flatten().tolist(), strict=True):
            self.met[self.number, index] = value
        self.number += 1
        return {"loss": drawn.mean()}

    def modules(self) -> dict[str, nn.Module]:
        return {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_noise_belongs_to_seed_example_and_step() -> None:
    x = torch.arange(8.0)
    whole, halves = Noises(), Noises()
    quick(whole, Batches(x, size=8), steps=2)
    quick(halves, Batches(x, size=8, seed=5), steps=2)
    assert whole.met == halves.met  # another order, the same noise
    assert len(set(whole.met.values())) == 16
    other = Noises()
    quick(other, Batches(x, size=8), steps=2, seed=1)
    assert not set(other.met.values()) & set(whole.met.values())


def test_averages_stand_in_the_model_at_the_end(tmp_path: Path) -> None:
    plain, averaged = classifier(schedule=constant), classifier(schedule=constant)
    start = weights(plain)
    expected = start.clone()

    def follow(*_: Any) -> None:
        nonlocal expected, number
        number += 1
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights(plain)

    number = 0
    plain.optimizer.register_step_post_hook(follow)
    quick(plain)
    quick(averaged, ema=0.9, directory=tmp_path, log=False)
    assert torch.allclose(weights(averaged), expected, atol=1e-6)
    assert not torch.allclose(weights(averaged), weights(plain), atol=1e-4)
    again = classifier()
    assert quick(again, ema=0.9, directory=tmp_path, log=False).resumed == 40
    assert torch.equal(weights(again), weights(averaged))


@pytest.mark.parametrize(
    ("precision", "inside", "kept"),
    [
        ("bf16-mixed", torch.bfloat16, torch.float32),
        ("bf16-true", torch.bfloat16, torch.bfloat16),
        ("64-true", torch.float64, torch.float64),
    ],
)
def test_precision(precision: str, inside: torch.dtype, kept: torch.dtype) -> None:
    step = classifier()
    seen = []
    step.model[0].register_forward_hook(lambda m, i, out: seen.append(out.dtype))  # type: ignore[index]
    quick(step, steps=1, precision=precision)
    assert seen == [inside]
    assert weights(step).dtype == kept


def test_compiled_training_agrees_and_the_model_is_given_back() -> None:
    compiled, plain = classifier(), classifier()
    quick(compiled, steps=5, compile="aot_eager")
    quick(plain, steps=5)
    assert torch.allclose(weights(compiled), weights(plain), atol=1e-5)
    assert compiled.model._compiled_call_impl is None


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_events_are_written_for_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = quick(classifier(), steps=100, directory=tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload().Scalars("train/loss")
    assert [event.step for event in events] == [50, 100]
    assert [event.value for event in events] == pytest.approx(history.losses)


def test_a_log_line_tells_that_tensorboard_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.INFO, "trompe.training"):
        assert quick(classifier(), directory=tmp_path).total == 40
    assert "TensorBoard is not installed" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_no_bar_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    train(classifier(), Batches(*separable(), size=16), steps=5)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with bar("digits", 10, shown=True) as progress:
        progress.at(10, 0.25)
    assert "digits" in capfd.readouterr().err
    with bar("digits", 10, shown=False) as progress:
        progress.at(10, 0.25)
    assert capfd.readouterr().err == ""


def test_resuming_continues_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = classifier(), classifier(), classifier()
    expected = quick(whole)

    class Crash(Exception):
        pass

    def crash(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == 23:
            raise Crash

    count = 0
    first.optimizer.register_step_pre_hook(crash)
    with pytest.raises(Crash):
        quick(first, directory=tmp_path, checkpoint_every=7, log=False)
    history = quick(second, directory=tmp_path, checkpoint_every=7, log=False)
    assert history.resumed == 21
    assert torch.equal(weights(second), weights(whole))
    assert history.values == expected.values
    assert history.steps == expected.steps


def test_resume_can_be_refused(tmp_path: Path) -> None:
    quick(classifier(), directory=tmp_path, log=False)
    assert quick(classifier(), directory=tmp_path, log=False).resumed == 40
    history = quick(classifier(), directory=tmp_path, log=False, resume=False)
    assert (history.resumed, history.total) == (0, 40)


def test_an_iterable_resumes_too(tmp_path: Path) -> None:
    x, y = separable()
    items = [(x[i::4], y[i::4]) for i in range(4)]
    whole, part = classifier(schedule=constant), classifier(schedule=constant)
    quick(whole, items, steps=10)
    quick(part, items, steps=6, directory=tmp_path / "a", log=False, checkpoint_every=6)
    state = part.state_dict()
    assert not torch.equal(weights(whole), weights(part))
    again = classifier(schedule=constant)
    again.load_state_dict(state)
    quick(again, items[2:] + items[:2], steps=4)
    assert torch.equal(weights(again), weights(whole))


def test_ctrl_c_saves_and_the_same_call_continues(tmp_path: Path) -> None:
    whole, part, again = classifier(), classifier(), classifier()
    quick(whole)

    def interrupt(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == 10:
            os.kill(os.getpid(), signal.SIGINT)

    count = 0
    part.optimizer.register_step_pre_hook(interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quick(part, directory=tmp_path, log=False)
    assert signal.getsignal(signal.SIGINT) is handler
    assert count == 10
    assert quick(again, directory=tmp_path, log=False).resumed == 10
    assert torch.equal(weights(again), weights(whole))


def test_it_trains_outside_the_main_thread() -> None:
    totals: list[int] = []
    thread = threading.Thread(target=lambda: totals.append(quick(classifier()).total))
    thread.start()
    thread.join()
    assert totals == [40]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": None}, "either `steps` or `epochs`"),
        ({"epochs": 3}, "either `steps` or `epochs`"),
        ({"steps": 0}, "at least 1 step of training, got 0"),
        ({"precision": "16-mixed"}, "expected precision one of 32-true"),
        ({"devices": 0}, "at least 1 device"),
        ({"devices": 3}, "a batch of 16 cannot be shared equally by 3 processes"),
        ({"ema": 1.0}, r"expected ema in \[0, 1\), got 1.0"),
        ({"checkpoint_every": 0}, "checkpoint_every of at least 1"),
    ],
)
def test_slips_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        quick(classifier(), **options)


def test_a_directory_that_is_a_file_or_of_another_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; give a directory"):
        quick(classifier(), directory=tmp_path / "file")
    quick(classifier(), directory=tmp_path, log=False)
    with pytest.raises(UserError, match=r"of a run with steps=40, not 41"):
        quick(classifier(), directory=tmp_path, steps=41, log=False)
    with pytest.raises(UserError, match=r"of a run with seed=0, not 2"):
        quick(classifier(), directory=tmp_path, seed=2, log=False)


def test_a_loss_that_is_not_finite_is_told() -> None:
    x = torch.full((16, 3), math.inf)
    with pytest.raises(UserError, match="loss became nan by step 40; lower the learning rate"):
        quick(classifier(), Batches(x, torch.zeros(16).long(), size=16))
