"""What a judge is worth: kinds of garbage, and records of what it makes of them."""

import pytest
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.data import Dataset, load
from trompe.evaluation.judge import FAR, about_judge, garbage, read, trust
from trompe.models import MLP, SVAE, SVAEConfig
from trompe.models.judge import Judge


class Dark(nn.Module):
    """Takes as real what is dark on average."""

    def accept(self, x: Tensor) -> Tensor:
        return x.flatten(1).mean(1) < 0.4


def labelled(digits: Dataset, n: int = 20) -> tuple[Tensor, Tensor]:
    x, y = digits.take(n).tensors()
    assert y is not None
    return x, y


def test_garbage_is_what_it_is_called(digits: Dataset) -> None:
    x, y = labelled(digits)
    made = garbage(x, y, seed=1)
    assert all(images.shape == x.shape for images in made.values())
    assert all(0 <= float(images.min()) <= float(images.max()) <= 1 for images in made.values())
    grey = made["uniform grey"].flatten(1)
    assert bool((grey == grey[:, :1]).all())
    assert len(grey[:, 0].unique()) == len(x)
    shuffled = made["shuffled pixels"].flatten(1).sort(1).values
    assert torch.equal(shuffled, x.flatten(1).sort(1).values)
    assert bool((made["turned parts"] != x).flatten(1).any(1).all())
    changed = (made["turned parts"] != x).flatten(1).sum(1)
    assert int(changed.max()) <= x[0].numel() // 4
    again, other = garbage(x, y, seed=1), garbage(x, y, seed=2)
    assert all(torch.equal(images, again[name]) for name, images in made.items())
    assert not torch.equal(made["uniform noise"], other["uniform noise"])


def test_averages_are_of_two_classes() -> None:
    x = torch.stack([torch.full((1, 2, 2), value) for value in (0.0, 0.0, 1.0, 1.0)])
    made = garbage(x, torch.tensor([0, 0, 1, 1]))["averages"]
    assert made.flatten().unique().tolist() == [0.5]
    assert "averages" not in garbage(x, torch.zeros(4, dtype=torch.int64))


def test_networks_make_further_kinds(digits: Dataset) -> None:
    x, y = labelled(digits, 6)
    generator = SVAE(SVAEConfig.sized((1, 8, 8), 10)).eval()
    seen = []
    decode = generator.decode
    generator.decode = lambda z: seen.append(z) or decode(z)  # type: ignore[method-assign, assignment, func-returns-value]
    victim = MLP((1, 8, 8), (16,)).eval()
    made = garbage(x, y, generator=generator, victim=victim)
    assert {"far codes", "attacked"} < set(made)
    lengths = torch.cat(seen).norm(dim=1) / FAR
    assert float(lengths.mean()) == pytest.approx(16**0.5, rel=0.25)
    assert float((made["attacked"] - x).abs().max()) == pytest.approx(0.3, abs=1e-5)


def test_trust_counts_errors_and_what_passes_for_real(digits: Dataset) -> None:
    judge = Judge({"mlp": MLP((1, 8, 8), (16,)).eval()}, Dark(), card={"right": 9, "n": 10})
    some = digits.take(40)
    records = list(trust(judge, some, subject="judge"))
    x, y = some.tensors()
    verdict = judge(x)
    assert records[0].metric == "accuracy"
    assert records[0].value == float((verdict.label == y).float().mean())
    real = {r.config["images"]: r for r in records if r.metric == "taken as real"}
    assert real["real"].value == float(verdict.real.float().mean())
    assert real["uniform noise"].value == 0
    assert all(r.subject == "judge" and "not people" in r.config["judge"] for r in records)
    assert about_judge(judge).endswith("mlp, right on 9 of 10 clean test images")
    assert read(judge, x).label.tolist() == verdict.label.tolist()


def test_unlabelled_images_are_told() -> None:
    x = (torch.arange(64) % 256).to(torch.uint8).view(1, 1, 8, 8)
    judge = Judge({"mlp": MLP((1, 8, 8), (16,)).eval()}, Dark())
    with pytest.raises(UserError, match="has no labels"):
        list(trust(judge, Dataset("plain", x)))


def test_a_judge_is_made_for_any_images_and_kept(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from trompe import zoo
    from trompe.zoo import judges

    small = load("digits", "train")
    judge = zoo.judge_for("digits", progress=False)
    card = judge.card()
    assert card["members"] == ["resnet", "mixer"]
    assert card["right"] / card["n"] > 0.9
    assert card["taken as real"] / card["n"] > 0.9
    monkeypatch.setattr(judges, "get", lambda *a, **k: pytest.fail("trained again"))
    again = zoo.judge_for("digits", progress=False)
    x, _ = small.take(30).tensors()
    for ours, theirs in zip(judge(x), again(x), strict=True):
        assert torch.equal(ours, theirs)


def test_the_victims_kind_does_not_judge() -> None:
    from trompe import zoo

    judge = zoo.judge_for("digits", without=("mixer", "conv4"), progress=False)
    assert judge.card()["members"] == ["resnet"]
    with pytest.raises(UserError, match="nobody is left"):
        zoo.judge_for("digits", without=("resnet", "mixer", "transformer"))
    with pytest.raises(UserError, match=r"unknown kind resnt; known are mlp, .*resnet"):
        zoo.judge_for("digits", without=("mixer", "resnt"))


def test_a_transformer_judges_images_of_16_pixels_a_side() -> None:
    from trompe.zoo.recipes import judges

    for side, voters in ((15, 2), (16, 3)):
        assert len(list(judges("own.npz", (1, side, 40), 2, 100))) == 1 + voters
