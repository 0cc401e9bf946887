"""Small supervised autoencoders for the tests of Type I attacks: a linear one, and one fitted to digits."""

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal


class Linear(nn.Module):
    """`x = W z`, the code `W^-1 x`, and a linear head; every code is as real as any other."""

    def __init__(self, weight: Tensor, head: Tensor) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(weight), nn.Parameter(head)
        self.eval()

    @property
    def prior(self) -> Independent:
        zero = torch.zeros_like(self.weight[:1])
        return Independent(Normal(zero, zero + 1), 1)

    def encode_mean(self, x: Tensor) -> Tensor:
        return torch.linalg.solve(self.weight, x.T).T

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T

    def classify(self, z: Tensor) -> Tensor:
        return z @ self.head.T

    def discriminate(self, z: Tensor) -> Tensor:
        return 0 * z.sum(1)


class Supervised(nn.Module):
    """A small supervised autoencoder, of images in [0, 1] or of vectors."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Sequential(nn.Linear(64, 24), nn.ELU(), nn.Linear(24, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 24), nn.ELU(), nn.Linear(24, 64))
        self.head, self.critic = nn.Linear(6, 10), nn.Linear(6, 1)

    @property
    def prior(self) -> Independent:
        zero = torch.zeros_like(self.head.weight[:1])
        return Independent(Normal(zero, zero + 1), 1)

    def encode_mean(self, x: Tensor) -> Tensor:
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        x = self.decoder(z).unflatten(1, self.shape)
        return torch.sigmoid(x) if len(self.shape) == 3 else x

    def classify(self, z: Tensor) -> Tensor:
        return self.head(z)

    def discriminate(self, z: Tensor) -> Tensor:
        return self.critic(z)[:, 0]
