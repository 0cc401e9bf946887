"""Words that people bring from other libraries, and slips of the finger, answered with ours."""

import difflib
import re
from collections.abc import Iterable, Sequence

from trompe.core.errors import UserError

__all__ = ["check_options", "unknown_verb"]

_OURS: dict[str, tuple[str, ...]] = {
    "eps": (
        "epsilon", "epsilons", "eps-max", "eps-list", "radius", "radii", "max-perturbation",
        "perturbation", "magnitude", "linf-eps", "e",
    ),
    "step-size": (
        "alpha", "eps-step", "eps-iter", "stepsize", "abs-stepsize", "rel-stepsize", "step-length",
    ),
    "steps": (
        "max-iter", "max-iters", "max-iterations", "iterations", "iteration", "iters", "iter",
        "num-steps", "nb-iter", "nb-iters", "n-iter", "num-iter", "num-iterations", "niter",
        "nsteps", "n-steps", "n-queries", "max-queries", "query-limit", "query-budget",
    ),
    "queries": ("n-queries", "max-queries", "query-limit", "query-budget"),
    "lr": ("learning-rate", "learning-rates", "optimizer-lr"),
    "rounds": ("binary-search-steps", "search-steps", "bin-search-steps"),
    "restarts": (
        "n-restarts", "num-restarts", "nb-restarts", "nb-random-init", "num-random-init",
        "random-restarts", "restart",
    ),
    "random-start": ("rand-init", "random-init", "rs"),
    "confidence": ("kappa", "conf"),
    "c": ("initial-const", "init-const", "const", "initial-stepsize"),
    "momentum": ("decay", "mu"),
    "beta": ("l1-weight", "regularization"),
    "targeted": ("target", "target-class", "is-targeted"),
    "loss": ("loss-fn", "loss-type", "criterion"),
    "norm": ("ord", "order", "p", "p-norm", "lp", "distance", "threat-model", "lp-norm"),
    "n": (
        "num-samples", "n-samples", "n-examples", "num-examples", "nb-examples", "samples", "n-ex",
        "limit", "count", "max-samples", "size",
    ),
    "draws": ("eot-iter", "eot-iters", "eot-steps", "n-draws", "num-draws", "mc-samples"),
    "still": ("deterministic", "no-sampling", "no-draws"),
    "eot": ("eot-iter", "eot-iters", "eot-steps"),
    "model": (
        "checkpoint", "ckpt", "weights", "model-path", "model-name", "arch", "net", "network",
        "classifier", "victim", "pretrained", "m",
    ),
    "autoencoder": ("vae", "ae", "generator", "purifier"),
    "defense": ("defence", "defended", "purify"),
    "data": ("dataset", "data-path", "input", "inputs", "images", "d"),
    "data-root": ("data-dir", "root", "dataset-root", "datadir"),
    "out": ("output", "output-dir", "outdir", "out-dir", "save", "save-dir", "save-path", "o", "report"),
    "json": ("out", "output", "save", "report"),
    "seed": ("random-seed", "rng-seed", "manual-seed", "random-state", "s"),
    "budget": ("time", "timeout", "max-time", "time-limit", "time-budget"),
    "fail-under": ("threshold", "min-accuracy", "fail-below", "fail-if-below", "min"),
    "resume": ("continue", "restore", "restart-from"),
    "device": ("gpu", "cuda", "use-cuda", "gpu-id", "gpus", "accelerator"),
    "precision": ("dtype", "fp16", "bf16", "half", "amp", "mixed-precision"),
    "base-url": ("url", "mirror", "source"),
    "scale": ("mode", "preset", "fast", "quick"),
    "comms": ("link", "radio", "communication", "code"),
    "psr": ("power", "psr-db", "jsr"),
    "snr": ("ebn0", "eb-n0", "ebno", "snr-db", "noise"),
    "blocks": ("messages", "symbols", "trials", "max-blocks"),
    "surrogate": ("substitute", "source-model", "transfer-from"),
    "penalty": ("lambda", "lam", "c", "weight"),
}  # fmt: skip
_NEGATIVE = re.compile(r"-(inf|infinity|nan)\b.*", re.IGNORECASE)
"""A value that looks like an option."""
_ADVICE = {
    "batch-size": "batches are chosen to fit; there is nothing to set",
    "batch": "batches are chosen to fit; there is nothing to set",
    "bs": "batches are chosen to fit; there is nothing to set",
    "num-workers": "data lies whole in memory; there are no loader workers",
    "workers": "data lies whole in memory; there are no loader workers",
    "attack-type": "name the attack as a word, as in trompe attack pgd",
    "attack": "name the attack as a word, as in trompe attack pgd; an audit runs a suite",
    "attacks": "name the attack as a word, as in trompe attack pgd; an audit runs a suite",
    "method": "name the attack as a word, as in trompe attack pgd; an audit runs a suite",
    "clip-min": "images lie in [0, 1]; wrap a model that wants another range",
    "clip-max": "images lie in [0, 1]; wrap a model that wants another range",
    "bounds": "images lie in [0, 1]; wrap a model that wants another range",
    "mean": "normalisation lives in the model: wrap it in trompe.models.Normalized",
    "std": "normalisation lives in the model: wrap it in trompe.models.Normalized",
    "verbose": "progress is shown on a terminal; results are printed in any case",
    "quiet": "progress is shown on a terminal only; redirect what you do not want",
    "config": "options are the configuration; a report repeats the command that made it",
}
_AROUND = {"eot": "--eot 20", "bpda": "--bpda", "still": "--still", "transfer": "--surrogate MODEL"}
_VERBS = {
    "train": "trompe zoo train",
    "models": "trompe zoo list",
    "datasets": "trompe data list",
    "fetch": "trompe data fetch",
    "download": "trompe data fetch",
    "verify": "trompe data verify",
    "list": "trompe zoo list or trompe data list",
    "evaluate": "trompe audit",
    "eval": "trompe audit",
    "report": "trompe audit",
    "run": "trompe audit",
    "test": "trompe audit",
    "scan": "trompe audit",
    "check": "trompe doctor",
    "diagnose": "trompe doctor",
    "diff": "trompe compare",
    "experiment": "trompe reproduce",
    "experiments": "trompe reproduce",
    "bench": "make bench",
    "benchmark": "make bench",
}


def check_options(tokens: Sequence[str], known: Iterable[str], command: str) -> None:
    """Refuse the first option that the command does not have, and say what it may have meant.

    Args:
        tokens: what stands after the verb.
        known: the command's options, without dashes.
        command: as typed, such as `trompe audit`.

    >>> check_options(["--eps", "0.1"], ["eps"], "trompe audit")
    """
    options = set(known)
    for word in tokens:
        if word == "--":
            return
        if _NEGATIVE.fullmatch(word):
            continue
        match = re.match(r"--?([A-Za-z][\w-]*)", word)
        if match is None or word.split("=")[0] in ("-h", "--help", "-H", "--help-verbose"):
            continue
        name = match[1].replace("_", "-")
        if word.startswith("--") and name in options:
            continue
        written = word.split("=")[0]
        raise UserError(f"{written}: {_answer(name.lower(), options, command)}")


def _answer(name: str, known: set[str], command: str) -> str:
    plain = name.removeprefix("no-")
    for ours in (name, *(word for word, theirs in _OURS.items() if plain in theirs)):
        if ours in known:
            return f"here it is --{ours}"
    if f"no-{plain}" in known or plain in known:
        usual = f"no-{plain}" if f"no-{plain}" in known else plain
        return f"that is the default; its opposite is --{usual}"
    if plain in _ADVICE:
        return _ADVICE[plain]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if near:
        return f"did you mean --{near[0]}?"
    return f"{command} has no such option; {command} --help lists them"


def unknown_verb(word: str, known: Iterable[str], command: str = "trompe") -> UserError:
    """The sentence about a word that is no verb here."""
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if near:
        return UserError(f"{command} has no {word!r}; did you mean {command} {near[0]}?")
    if command == "trompe attack" and word.lower() in _AROUND:
        return UserError(
            f"{word} is put around an attack, as in trompe attack pgd {_AROUND[word.lower()]}"
        )
    if command == "trompe" and word.lower() in _VERBS:
        return UserError(f"trompe has no {word!r}; here it is {_VERBS[word.lower()]}")
    return UserError(f"{command} has no {word!r}; it has {', '.join(names)}")
