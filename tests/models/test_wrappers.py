"""Wrappers of classifiers, and what is refused in their place."""

import copy

import pytest
import torch
from torch import nn

from trompe.core import random
from trompe.core.errors import UserError
from trompe.models import (
    MLP,
    FromBinary,
    FromProbabilities,
    FromSigned,
    Normalized,
    check_classifier,
)


def images(n=4):
    with random.streams(random.seeds(1, n)):
        return random.uniform((n, 1, 4, 4))


def net():
    return MLP(shape=(1, 4, 4), hidden=(8,), classes=3)


def test_each_wrapper_shows_the_model_what_it_was_trained_on():
    x, model = images(), net()
    torch.testing.assert_close(Normalized(model, (0.2,), (0.5,))(x), model((x - 0.2) / 0.5))
    torch.testing.assert_close(FromSigned(model)(x), model(2 * x - 1))


def test_normalisation_moves_with_the_model_and_has_no_parameters():
    wrapped = copy.deepcopy(Normalized(net(), (0.2,), (0.5,))).double()
    assert wrapped(images().double()).dtype == torch.float64
    names = [name for name, _ in wrapped.named_parameters()]
    assert names
    assert all(name.startswith("model.") for name in names)


def test_normalisation_refuses_other_channels_instead_of_broadcasting():
    coloured = Normalized(nn.Flatten(), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    with pytest.raises(UserError, match=r"3 channels .* \(4, 1, 4, 4\)"):
        coloured(images())
    with pytest.raises(UserError, match=r"\(4, 16\)"):
        Normalized(nn.Identity(), (0.1,), (1.0,))(images().flatten(1))
    vectors = Normalized(nn.Identity(), (0.25, 0.5), (0.5, 0.5), dims=1)
    assert vectors(torch.tensor([[0.75, 0.75]])).tolist() == [[1.0, 0.5]]


def test_logarithms_of_probabilities_are_logits_up_to_a_constant():
    model, x = net().double(), images().double().requires_grad_()
    wrapped = FromProbabilities(nn.Sequential(model, nn.Softmax(1)))
    torch.testing.assert_close(wrapped(x), model(x).log_softmax(1))
    label = torch.arange(4) % 3
    losses = [nn.functional.cross_entropy(m(x), label) for m in (wrapped, model)]
    gradients = [torch.autograd.grad(loss, x)[0] for loss in losses]
    torch.testing.assert_close(*gradients)


def test_probabilities_of_exactly_zero_stay_finite():
    assert bool(FromProbabilities(nn.Flatten())(torch.tensor([[0.0, 1.0]])).isfinite().all())


@pytest.mark.parametrize("flat", [True, False])
def test_one_logit_becomes_two_with_the_same_odds(flat):
    one = torch.tensor([0.3, -2.0])
    logits = FromBinary(nn.Identity())(one if flat else one[:, None])
    torch.testing.assert_close(logits.softmax(1)[:, 1], one.sigmoid())


@pytest.mark.parametrize("wrap", [FromSigned, FromBinary, FromProbabilities])
def test_wrappers_take_over_the_mode_of_the_model(wrap):
    assert not any(m.training for m in wrap(net().eval()).modules())
    assert not any(m.training for m in Normalized(net().eval(), (0.2,), (0.5,)).modules())
    assert wrap(net().train()).training


def test_a_good_classifier_passes():
    model, x = net().eval(), images()
    torch.testing.assert_close(check_classifier(model, x, classes=3), model(x).detach())


class Answers(nn.Module):
    """Answers the same, whatever it is shown."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer


REFUSED = [
    (net().train(), "train mode"),
    (nn.Sequential(net(), nn.Dropout()).eval().append(nn.Dropout()), "train mode"),
    (nn.Sequential(net(), nn.Softmax(1)).eval(), "FromProbabilities"),
    (Answers(torch.full((4, 3), 1 / 3)).eval(), "FromProbabilities"),
    (Answers(torch.zeros(4, 1)).eval(), "FromBinary"),
    (Answers(torch.zeros(4)).eval(), "FromBinary"),
    (Answers(torch.zeros(4, 3, 2)).eval(), r"\(B, classes\)"),
    (Answers(torch.zeros(5, 3)).eval(), r"\(B, classes\)"),
    (Answers((torch.zeros(4, 3), None)).eval(), "tuple"),
    (Answers(torch.full((4, 3), torch.nan)).eval(), "NaN"),
    (Answers(torch.zeros(4, 2)).eval(), "2 logits for 3 classes"),
]


@pytest.mark.parametrize(("model", "says"), REFUSED)
def test_what_is_no_classifier_is_told(model, says):
    with pytest.raises(UserError, match=says):
        check_classifier(model, images(), classes=3)


def test_rounded_probabilities_are_still_seen():
    half = Answers((torch.arange(12.0).view(4, 3) / 7).softmax(1).to(torch.bfloat16)).eval()
    with pytest.raises(UserError, match="probabilities"):
        check_classifier(half, images())
