"""The embedder of faces, and users' embedders brought to its call."""

import pytest
import torch
from torch import Tensor, nn

from trompe.core.errors import UserError
from trompe.models import FaceConfig, FaceEmbedder, adapt_embedder, build, check_embedder
from trompe.models.faces import UnitLength

SMALL = FaceConfig((3, 16, 16), dimension=8, channels=(8, 16))


@pytest.fixture
def x() -> Tensor:
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_embeddings_have_unit_length_and_do_not_depend_on_their_batch(x: Tensor) -> None:
    model = build(SMALL).double()
    z = model(x.double())
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(model.train()(x[2:3].double()), z[2:3])


def test_the_seed_decides_the_weights(x: Tensor) -> None:
    state = torch.get_rng_state()
    one, again, other = (FaceEmbedder(SMALL, seed=seed)(x) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_an_odd_size_fits_too() -> None:
    model = FaceEmbedder(FaceConfig((1, 13, 9), dimension=4, channels=(4, 6)))
    assert model(torch.rand(2, 1, 13, 9)).shape == (2, 4)


def test_the_recipe_for_faces_is_cheap_enough_to_attack() -> None:
    """At most 25 million multiplications forward."""
    model, spent = FaceEmbedder(FaceConfig()), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda m, _, out: spent.append(
                    m.weight[0].numel() * (out.numel() if m.weight.ndim == 4 else len(m.weight))
                )
            )
    model(torch.rand(1, 3, 64, 64))
    assert sum(spent) < 25e6


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("unit", lambda x: x),
        ("signed", lambda x: 2 * x - 1),
        ("normalised", lambda x: (x - 0.5) / 0.25),
        (
            "standardised",
            lambda x: (
                (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), correction=0, keepdim=True)
            ),
        ),
    ],
)
def test_a_users_embedder_gets_the_inputs_it_wants(inputs, expected, x) -> None:  # type: ignore[no-untyped-def]
    given = {"mean": (0.5,) * 3, "std": (0.25,) * 3} if inputs == "normalised" else {}
    plain = adapt_embedder(nn.Flatten().eval(), inputs=inputs, unit_length=False, **given)
    torch.testing.assert_close(plain(x), expected(x).flatten(1))
    unit = adapt_embedder(nn.Flatten().eval(), inputs=inputs, **given)
    torch.testing.assert_close(unit(x), nn.functional.normalize(expected(x).flatten(1)))
    assert not unit.training
    check_embedder(unit, x)


def test_a_user_embedder_may_want_another_size(x: Tensor) -> None:
    small = adapt_embedder(FaceEmbedder(FaceConfig((3, 8, 8), 4, (4,))).eval(), side=8)
    assert small(x).shape == (5, 4)
    flat = torch.full((1, 3, 16, 16), 0.5)
    shown = adapt_embedder(nn.Flatten().eval(), side=8, unit_length=False)(flat)
    torch.testing.assert_close(shown, torch.full((1, 192), 0.5))


def test_a_grey_image_without_contrast_is_standardised_to_zero() -> None:
    model = adapt_embedder(nn.Flatten().eval(), inputs="standardised", unit_length=False)
    assert torch.equal(model(torch.full((1, 1, 2, 2), 0.5)), torch.zeros(1, 4))


def test_slips_are_one_sentence(x: Tensor) -> None:
    for wrong in ({"shape": (3, 16)}, {"channels": ()}, {"dimension": 0}):
        with pytest.raises(UserError, match=r"shape|positive"):
            FaceConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a batch of shape"):
        FaceEmbedder(SMALL)(x[..., :8])
    with pytest.raises(UserError, match="inputs must be one of"):
        adapt_embedder(nn.Flatten(), inputs="bytes")
    with pytest.raises(UserError, match="mean and std belong to"):
        adapt_embedder(nn.Flatten(), inputs="normalised")
    with pytest.raises(UserError, match="in train mode"):
        check_embedder(nn.Flatten().train(), x)
    with pytest.raises(UserError, match=r"returns \(B, D\)"):
        check_embedder(nn.Identity().eval(), x)
    with pytest.raises(UserError, match="not finite"):
        check_embedder(UnitLength(_Log()).eval(), x - 1)


class _Log(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).log()
