"""Compare the adapter and the objectives with pythae's own models (run by `make peers`).

pythae pins and imports what spoils the main environment, so this runs in one of its own and leaves a
record: for each model the largest difference between what our adapter says and what pythae computes. One
of them goes through a whole audit, by the command line and as `pythae_adapter:vae`.
"""

import argparse
import contextlib
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _torchvision  # noqa: F401
import numpy as np
import torch
from torch import Tensor, nn

from trompe.cli import main as trompe
from trompe.core import random
from trompe.core.losses import kl_to_prior
from trompe.evaluation.records import Record, versions, write_records
from trompe.models import adapt_autoencoder
from trompe.models.objectives import reconstruction_loss
from trompe.reports import read

SHAPE, LATENT, ROWS = (1, 8, 8), 4, 16
RESULTS = Path(__file__).resolve().parents[2] / "results" / "peers" / "pythae.json"
TOLERANCE = 1e-4  # of losses of order 50, in float32


def difference(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference."""
    return float((a - b).detach().abs().max())


def reading(model: nn.Module, x: Tensor) -> float:
    """Means, deviations and reconstructions against pythae's encoder and decoder called directly."""
    ours, theirs = adapt_autoencoder(model, x), model.encoder(x)
    worst = max(
        difference(ours.encode(x).mean, theirs.embedding),
        difference(ours(x), model.decoder(theirs.embedding).reconstruction),
    )
    if "log_covariance" in theirs:
        deviation = (theirs.log_covariance / 2).exp()
        worst = max(worst, difference(ours.encode(x).stddev, deviation))
    return worst


def gradient(model: nn.Module, x: Tensor) -> float:
    """The gradient of the reconstruction's mean with respect to the input, against pythae's parts."""
    leaf = x.clone().requires_grad_()
    ours = torch.autograd.grad(adapt_autoencoder(model)(leaf).sum(), leaf)[0]
    direct = model.decoder(model.encoder(leaf).embedding).reconstruction
    return difference(ours, torch.autograd.grad(direct.sum(), leaf)[0])


def batching(model: nn.Module, x: Tensor) -> float:
    """Noisy reconstructions of each example alone and in the batch."""
    ours, seeds = adapt_autoencoder(model).with_scale(1.0), random.seeds(0, len(x))
    with random.streams(seeds):
        together = ours(x)
    rows = []
    for row, seed in zip(x.split(1), seeds.split(1), strict=True):
        with random.streams(seed):
            rows.append(ours(row))
    return difference(torch.cat(rows), together)


def objective(model: nn.Module, x: Tensor) -> float:
    """Our negative ELBO at pythae's own draw against its loss, `reconstruction + KL`."""
    theirs = model({"data": x})
    output = torch.logit(theirs.recon_x.double())
    gaussian = model.model_config.reconstruction_loss == "mse"
    ours = reconstruction_loss(
        output, x.double(), "gaussian" if gaussian else "bernoulli", variance=1.0
    )
    if gaussian:  # theirs leaves out the constant
        ours = ours - 0.5 * torch.log(torch.tensor(2 * torch.pi)) * x[0].numel()
    kl = kl_to_prior(adapt_autoencoder(model).encode(x))
    return difference((ours + kl).mean(), theirs.loss)


def vae() -> nn.Module:
    """What an audit is given: the same weights at every call."""
    from pythae import models

    torch.manual_seed(0)
    config = models.VAEConfig(input_dim=SHAPE, latent_dim=LATENT, reconstruction_loss="bce")
    return models.VAE(config).eval()


def audit(model: nn.Module, x: Tensor) -> float:
    """The reconstruction error in the report of an audit against pythae's own reconstructions.

    The audit must end well, with its attack inside the domain: infinity where it does not.
    """
    x = (255 * x).round() / 255
    with tempfile.TemporaryDirectory() as folder:
        file, out = f"{folder}/pictures.npz", f"{folder}/report"
        np.savez(file, x=x.numpy())
        words = ["audit", "--model", "pythae_adapter:vae", "--data", file, "--out", out]
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            code = trompe([*words, "--n", str(ROWS), "--budget", "10s"])
        metrics = {metric.name: metric.value for metric in read(Path(out)).metrics}
    if code != 0 or not 0 <= metrics["autoencoder: AUDDC"] <= 1:
        return float("inf")
    rebuilt = model.decoder(model.encoder(x).embedding).reconstruction
    rmsd = (rebuilt - x).square().flatten(1).mean(1).sqrt().mean()
    return abs(metrics["autoencoder: clean reconstruction error"] - float(rmsd))


def subjects() -> dict[str, tuple[nn.Module, tuple[Callable[[nn.Module, Tensor], float], ...]]]:
    """Models of pythae with random weights, and what each can be compared in."""
    from pythae import models

    size: dict[str, Any] = {"input_dim": SHAPE, "latent_dim": LATENT}
    parts = (reading, gradient, batching)
    return {
        "AE": (models.AE(models.AEConfig(**size)), parts),
        "WAE_MMD": (models.WAE_MMD(models.WAE_MMD_Config(**size)), parts),
        "VAE bce": (
            models.VAE(models.VAEConfig(**size, reconstruction_loss="bce")),
            (*parts, objective),
        ),
        "VAE mse": (
            models.VAE(models.VAEConfig(**size, reconstruction_loss="mse")),
            (*parts, objective),
        ),
        "VAE audited": (vae(), (audit,)),
        "BetaVAE": (models.BetaVAE(models.BetaVAEConfig(**size)), parts),
    }


def records() -> list[Record]:
    """One record for each model and comparison."""
    with random.streams(random.seeds(1, ROWS)):
        x = random.uniform((ROWS, *SHAPE))
    found = []
    for name, (model, comparisons) in subjects().items():
        model.eval()
        for compare in comparisons:
            start = time.perf_counter()
            value = compare(model, x)
            found.append(
                Record(
                    metric=f"largest difference, {compare.__name__}",
                    value=value,
                    n=ROWS,
                    subject=f"pythae {name}",
                    paper="peers",
                    item="pythae",
                    scale="smoke",
                    config={"shape": SHAPE, "latent": LATENT, "tolerance": TOLERANCE},
                    seconds=round(time.perf_counter() - start, 4),
                    versions=versions() | _others(),
                )
            )
    return found


def _others() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("pythae", "torchvision")}


def main() -> int:
    """Write the record; 1 where a difference exceeds the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_known_args()[0].out
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)  # pythae initialises and draws from the global generator
    found = records()
    write_records(out, found)
    for record in found:
        print(f"{record.subject:18} {record.metric:32} {record.value:.1e}")
    return int(max(record.value for record in found) > TOLERANCE)


if __name__ == "__main__":
    raise SystemExit(main())
