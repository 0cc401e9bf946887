"""What a named layer says: which pass is run, how far, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from trompe.attacks import LatentAttack
from trompe.core.errors import UserError
from trompe.core.execution import execution, working_copy
from trompe.core.geometry import Ball
from trompe.core.layers import activations
from trompe.models import VAE, ClassifierConfig, build


@pytest.fixture
def model() -> nn.Module:
    return VAE(shape=(1, 8, 8), latent=4, architecture="conv", channels=(3, 5)).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_it_is_what_the_layer_computes(model: nn.Module, x: Tensor) -> None:
    first = model.encoder[0](x)  # type: ignore[index, operator]
    torch.testing.assert_close(activations(model, "encoder.0", x), first.flatten(1))
    torch.testing.assert_close(activations(model, "mean", x), model.encode(x).mean)  # type: ignore[operator]
    whole = activations(model, "decoder", x).view_as(x).sigmoid()
    torch.testing.assert_close(whole, model(x))


def test_nothing_behind_it_runs(model: nn.Module, x: Tensor) -> None:
    ran: list[str] = []
    for name, layer in model.named_modules():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    activations(model, "encoder.1", x)
    assert ran == ["encoder.0", "encoder.1"]
    assert all(len(layer._forward_hooks) == 1 for layer in model.modules())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_working_copy_says_the_same(model: nn.Module, x: Tensor, precision: str) -> None:
    """Its memory format differs, and its precision; its rows and columns do not."""
    wanted = activations(model, "encoder.2", x)
    with execution(precision=precision):
        copied = working_copy(model)
    assert copied is not model
    v = x.clone().requires_grad_()
    found = activations(copied, "encoder.2", v)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=1e-6 if precision == "float32" else 0.02, rtol=0)
    (grad,) = torch.autograd.grad(found.sum(), v)
    assert bool((grad.flatten(1).abs().sum(1) > 0).all())


@pytest.mark.parametrize("layer", ["encoder.1", "encoder.2", "mean", "decoder.0", "decoder"])
def test_the_latent_attack_matches_any_layer(model: nn.Module, x: Tensor, layer: str) -> None:
    model, x = model.double(), x.double()
    y = x.flip(0)
    attack = LatentAttack(Ball(0.3), layer=layer, steps=20)
    found = attack(model, x, y)
    goal = activations(model, layer, y)
    before, after = ((activations(model, layer, v) - goal).norm(dim=1) for v in (x, found))
    assert bool((after < 0.9 * before).all())
    alone = torch.cat([attack(model, x[k : k + 1], y[k : k + 1]) for k in range(6)])
    torch.testing.assert_close(alone, found, atol=1e-3, rtol=0)


def test_the_layer_of_the_mean_is_the_code(model: nn.Module, x: Tensor) -> None:
    by_name = LatentAttack(Ball(0.2), layer="mean", steps=10)(model, x, x.flip(0))
    torch.testing.assert_close(by_name, LatentAttack(Ball(0.2), steps=10)(model, x, x.flip(0)))


def test_a_classifier_has_layers_too(x: Tensor) -> None:
    """Feature adversaries (Sabour et al. 2016)."""
    net = build(ClassifierConfig("mlp", (1, 8, 8), hidden=(16,))).eval()
    name = next(n for n, layer in net.named_modules() if isinstance(layer, nn.ReLU))
    found = LatentAttack(Ball(0.3), layer=name, steps=20)(net, x, x.flip(0))
    goal = activations(net, name, x.flip(0))
    before, after = ((activations(net, name, v) - goal).norm(dim=1) for v in (x, found))
    assert bool((after < before).all())


def test_slips_are_told(model: nn.Module, x: Tensor) -> None:
    with pytest.raises(UserError, match=r"no layer 'encoder.9'; its layers are encoder"):
        activations(model, "encoder.9", x)
    with pytest.raises(UserError, match="no layer ''"):
        activations(model, "", x)
    model.unused = nn.Linear(1, 1)
    with pytest.raises(UserError, match="'unused' does not run"):
        activations(model, "unused", x)
    with pytest.raises(UserError, match="needs a stochastic encoder"):
        LatentAttack(Ball(0.1), layer="mean", divergence="kl")(model, x, x)

    class Table(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"x": x}

    with pytest.raises(UserError, match="gives dict, not a tensor"):
        activations(nn.Sequential(Table()), "0", x)
