"""Models, defences and data that a user might bring, as `module:function`."""

import torch
from torch import Tensor, nn

from trompe.core import random
from trompe.data import Dataset, load
from trompe.defenses import Guarded, ReconstructionError


class Nearest(nn.Module):
    """The nearest class mean of the digits: linear, about nine in ten correct, on any grid of pixels."""

    def __init__(self) -> None:
        super().__init__()
        x, y = load("digits", "train").tensors()
        means = torch.stack([x[y == k].mean(0).flatten() for k in range(10)])
        self.register_buffer("means", means)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        means = self.means
        assert isinstance(means, Tensor)
        return 10 * (x.flatten(1) @ means.T - means.square().sum(1) / 2)


class Before(nn.Module):
    """A classifier with something before it."""

    def __init__(self, classifier: nn.Module, kind: str) -> None:
        super().__init__()
        self.classifier, self.kind = classifier, kind
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "detached":
            x = x.detach()
        elif self.kind == "noisy":
            x = x + 0.1 * random.normal(tuple(x.shape), x)
        elif self.kind == "rounded":
            x = (x * 2).round() / 2
        return self.classifier(x)  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """An autoencoder whose codes are points: averages of two by two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 2).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        return nn.functional.interpolate(z.view(-1, 1, 4, 4), scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def nearest() -> nn.Module:
    return Nearest()


def pooled() -> nn.Module:
    return Pooled()


def severed() -> nn.Module:
    return Before(Nearest(), "detached")


def hopeless() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model.eval()


def for_larger_images() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).eval()


def detached(classifier: nn.Module) -> nn.Module:
    return Before(classifier, "detached")


def noisy(classifier: nn.Module) -> nn.Module:
    return Before(classifier, "noisy")


def rounded(classifier: nn.Module) -> nn.Module:
    return Before(classifier, "rounded")


def wary(classifier: nn.Module) -> nn.Module:
    x, _ = load("digits", "train").tensors(slice(0, 200))
    return Guarded(classifier, [ReconstructionError(Pooled())]).calibrate(x, fpr=0.05).eval()


def guarded() -> nn.Module:
    return wary(Nearest())


def kl() -> nn.Module:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = {"block_out_channels": (4,), "norm_num_groups": 2, "layers_per_block": 1}
    return AutoencoderKL(in_channels=1, out_channels=1, latent_channels=2, **blocks).eval()


def colour_kl() -> nn.Module:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        layers_per_block=1,
    ).eval()


def by_class() -> Dataset:
    data = load("digits", "test")
    assert data.y is not None
    return data.subset(data.y.argsort(stable=True))


def unlabelled() -> Dataset:
    data = load("digits", "test")
    return Dataset("unlabelled", data.x)


class Repeated(nn.Module):
    """One bit, sent three times; the receiver adds up. It has the four names that are asked of a link."""

    uses, bits = 3, 1

    def __init__(self, **wrong: object) -> None:
        super().__init__()
        for name, value in wrong.items():
            setattr(self, name, value)
        self.eval()

    def transmit(self, s: Tensor) -> Tensor:
        return (1.0 - 2.0 * s)[:, None].expand(-1, 3)

    def receive(self, y: Tensor) -> Tensor:
        total = y.sum(1)
        return torch.stack([total, -total], 1)


def repeated() -> nn.Module:
    return Repeated()


class Deaf(Repeated):
    """It decides bit by bit, which has no gradient."""

    def receive(self, y: Tensor) -> Tensor:
        return super().receive(y.detach().sign())


def deaf() -> nn.Module:
    return Deaf()
