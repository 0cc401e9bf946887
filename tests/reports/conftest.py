"""A report as an audit of the digits makes it, with numbers invented for these tests alone."""

import math

import numpy as np
import pytest

from trompe.reports import (
    Check,
    Curve,
    Finding,
    Grid,
    Metric,
    Report,
    Section,
    Series,
    Table,
    magnified,
    measured,
)

NAIVE = "The attacker knows the classifier, not the defence, and may change every pixel by eps."
ADAPTIVE = "The attacker knows everything, differentiates through the defence and averages over it."
TARGETED = "The attacker sees the autoencoder's weights and wants the output to be another image."
EPS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def _series(label: str, y: tuple[float, ...], n: int = 360) -> Series:
    half = [1.96 * math.sqrt(max(p * (1 - p), 0.004) / n) for p in y]
    low = [max(p - h, 0) for p, h in zip(y, half, strict=True)]
    high = [min(p + h, 1) for p, h in zip(y, half, strict=True)]
    return Series(label, EPS[: len(y)], y, low, high)


def _curves() -> tuple[Curve, Curve]:
    robust = Curve(
        "Robust accuracy against the size of the perturbation",
        "eps (Linf, pixels in [0, 1])",
        "Robust accuracy",
        (
            _series("No defence", (0.972, 0.731, 0.352, 0.114, 0.025, 0.006, 0.0)),
            _series("VAE, naive attacker", (0.953, 0.925, 0.853, 0.744, 0.611, 0.486, 0.358)),
            _series("VAE, adaptive attacker", (0.953, 0.689, 0.339, 0.131, 0.042, 0.014, 0.003)),
        ),
        percent=True,
        note="Bands are Wilson 95% intervals, n = 360; the worst case over 5 attacks.",
        threat=ADAPTIVE,
    )
    x = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    distortion = Curve(
        "How far the output moves for a given distortion of the input",
        "L2 distortion of the input",
        "L2 change of the output",
        (
            Series("Latent attack, symmetric KL", x, (0.04, 0.15, 0.62, 1.9, 4.4, 5.9)),
            Series("Output attack", x, (0.05, 0.18, 0.71, 2.3, 5.1, 6.2)),
            Series("Random noise", x, (0.01, 0.02, 0.06, 0.17, 0.55, 1.62)),
        ),
        log_x=True,
    )
    return robust, distortion


def _images() -> Grid:
    from sklearn.datasets import load_digits

    digits = load_digits().images / 16.0
    rng = np.random.default_rng(0)
    rows, captions, labels = [], [], []
    for first, last in ((3, 18), (7, 4), (0, 16), (12, 9)):
        x, target = digits[first], digits[last]
        delta = np.clip(x + 0.12 * np.sign(rng.normal(size=(8, 8))), 0, 1) - x
        adversarial, blurred = x + delta, 0.72 * target + 0.14 * x + 0.05
        drawn, _ = magnified(delta, 5)
        grey = [np.rint(255 * v).astype(np.uint8) for v in (x, adversarial, blurred, target)]
        rows.append((grey[0], drawn, *grey[1:]))
        captions.append(("read as 3", "L2 0.91", "read as 3", "read as 8", "wanted"))
        labels.append(f"Image {first}")
    titles = ("Original", "Perturbation ×5", "Adversarial", "Reconstruction", "Target")
    return Grid(
        "Four images and what the autoencoder makes of them", titles, rows, labels, captions
    )


def _metrics() -> tuple[Metric, ...]:
    def rate(name: str, p: float, threat: str = "", better: str = "higher") -> Metric:
        half = 1.96 * math.sqrt(max(p * (1 - p), 0.004) / 360)
        ends = (max(p - half, 0.0), min(p + half, 1.0))
        return Metric(name, p, *ends, 360, "rate", better, "Wilson 95%", threat)

    return (
        rate("clean accuracy", 0.972),
        rate("robust accuracy, Linf eps 0.1", 0.352, "The attacker knows the classifier."),
        rate("robust accuracy with VAE, naive, Linf eps 0.1", 0.853, NAIVE),
        rate("robust accuracy with VAE, adaptive, Linf eps 0.1", 0.339, ADAPTIVE),
        rate("targeted success on the VAE, L2 1.0", 0.644, TARGETED, "lower"),
        Metric(
            "reconstruction error", 0.0131, 0.0128, 0.0134, 360, "MSE", "lower", "bootstrap 95%"
        ),
        Metric("spread of robust accuracy over training seeds", 0.021, n=3),
    )


def _findings(metrics: tuple[Metric, ...]) -> tuple[Finding, ...]:
    return (
        Finding(
            "medium",
            "The autoencoder can be made to output a chosen digit",
            "In 64 of 100 pairs the reconstruction was closer to the target than to the input.",
            TARGETED,
            measured(metrics[4]),
        ),
        Finding(
            "critical",
            "Reconstruction does not protect the classifier from someone who knows it is there",
            "Against an attacker unaware of the defence, accuracy at `eps = 0.1` is 85.3%. Against "
            "one who differentiates through it, accuracy is 33.9%, no better than with no defence.",
            ADAPTIVE,
            measured(metrics[3]),
        ),
        Finding(
            "high",
            "Six in ten images are misread after a change of a tenth of the pixel range",
            "",
            "The attacker knows the classifier's weights and may change every pixel by 0.1.",
            measured(metrics[1]),
        ),
        Finding("low", "Accuracy on clean images falls by 1.9 points with the defence", "", "", ""),
        Finding("info", "The VAE reconstructs as well as its size allows", "", "", ""),
    )


def _table() -> Table:
    columns = ("Attack", "Norm", "eps", "Accuracy left", "95% interval", "Mean L2", "Forwards")
    return Table(
        "Each attack alone, and the worst case over all of them",
        columns,
        (
            ("FGSM", "Linf", 0.1, "61.4%", "56.3% to 66.3%", 0.79, 360),
            ("PGD, 40 steps, 2 restarts", "Linf", 0.1, "36.1%", "31.3% to 41.2%", 0.72, 21520),
            ("APGD-CE", "Linf", 0.1, "35.8%", "31.1% to 40.9%", 0.71, 31044),
            ("APGD-DLR", "Linf", 0.1, "35.6%", "30.8% to 40.6%", 0.71, 30872),
            ("Square, 1000 queries", "Linf", 0.1, "43.9%", "38.9% to 49.1%", 0.77, 211874),
            ("Worst case", "Linf", 0.1, "35.2%", "30.5% to 40.3%", 0.72, None),
        ),
        "Success is measured on what each attack returned, after clipping and as 8-bit PNG.",
        "The attacker knows the classifier's weights and may change every pixel by 0.1.",
    )


DOCTOR = (
    Check("More steps are not worse", True, "35.2% at 40 steps, 35.0% at 160."),
    Check("A larger radius is not worse", True, "Accuracy falls at every step from 0 to 0.3."),
    Check("An unbounded radius reaches 100%", True, "No image survives `eps = 1`."),
    Check(
        "Black box is not better than white box",
        False,
        "Square left 30.1% of images right where PGD left 33.9%.",
        "When an attack without gradients does better, the gradients are being hidden.",
        "Classifier behind the VAE",
    ),
    Check("Autograd agrees with finite differences", True, "Largest relative error 2.1e-4."),
    Check("Zero radius equals clean accuracy", True, "97.2% both."),
    Check("Transfer is not better than white box", None, "No surrogate was given."),
)


@pytest.fixture
def report() -> Report:
    robust, distortion = _curves()
    metrics = _metrics()
    return Report(
        title="Audit of a VAE and the classifier it is meant to protect",
        subject="digits-vae and digits-mlp on 360 test images of digits",
        command="trompe audit --data digits --eps 0,0.05,0.1,0.15,0.2,0.25,0.3 --seed 0",
        created="2026-11-20T19:24:11+00:00",
        summary="The VAE reconstructs well, but does not protect the classifier: an attacker who "
        "knows of it succeeds as often as against the bare classifier. One of the doctor's checks "
        "failed, so the robust accuracy behind the VAE is an upper bound.",
        findings=_findings(metrics),
        sections=(
            Section(
                "Does reconstruction protect the classifier?",
                "The classifier reads what the VAE makes of each image. A naive attacker aims at "
                "the classifier alone; an adaptive one at both together.",
                (robust, _table()),
            ),
            Section(
                "Can the autoencoder be made to say something else?",
                "Each attack changes the input so that the reconstruction becomes the target.",
                (distortion, _images()),
                TARGETED,
            ),
        ),
        metrics=metrics,
        doctor=DOCTOR,
        verdict="Believe the undefended numbers. The defended ones are an upper bound, because an "
        "attack without gradients did better than one with them.",
        cost={"seconds": 81.2, "forward passes": 1284410, "backward passes": 402116, "images": 360},
        untested=(
            "Perturbations larger than 0.3, patches, rotations and any change that is not a norm.",
            "Attackers who can poison the training data.",
            "Inputs from outside the ten classes.",
        ),
        settings={"data": "digits", "norm": "Linf", "seed": 0, "training seeds": "0, 1, 2"},
        environment={"trompe": "0.1.0", "torch": "2.13.0", "device": "cpu", "threads": 2},
    )
