"""Everything that can be wrong with a radio link for an audit: one sentence, exit code 2, nothing written."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run

LINKS = '''
import torch
from torch import nn


class Repeat(nn.Module):
    """One bit, sent three times."""

    uses, bits = 3, 1

    def __init__(self, scale=1.0, **changed):
        super().__init__()
        self.scale, self.shown = scale, 1.0
        self.__dict__.update(changed)

    def transmit(self, s):
        return self.scale * (1.0 - 2.0 * s)[:, None].expand(-1, 3)

    def receive(self, y):
        return self.shown * torch.stack([y.sum(1), -y.sum(1)], 1)


def loud():
    return Repeat(2.0).eval()


def without_numbers():
    return Repeat(shown=float("nan")).eval()


def in_train_mode():
    return Repeat()


def of_one_message():
    return Repeat(bits=0).eval()


def without_uses():
    return Repeat(uses=0).eval()


def of_text():
    return Repeat(bits="4").eval()


def of_more_uses():
    return Repeat(uses=7).eval()


def no_link():
    return nn.Linear(2, 2).eval()


def not_a_module():
    return 3


def breaks():
    raise RuntimeError("my own bug")
'''


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            "--comms mlp-7-0",
            "k must be a whole number of at least 1, got 0; there would be one message",
        ),
        ("--comms mlp-0-4", "n must be a whole number of at least 1, got 0"),
        ("--comms cnn--1-4", "n must be a whole number of at least 1, got -1"),
        ("--comms mlp-7-40", "k must be at most 12, got 40"),
        ("--comms rnn-7-4", "unknown link 'rnn-7-4': give mlp-N-K or cnn-N-K"),
        ("--comms mlp-7-4.5", "unknown link"),
        ("--comms digits-mlp", "unknown link"),
        ("--comms nets.pt", "is a pickle, which can run any code"),
        ("--comms own:absent", "own has no function 'absent'"),
        ("--comms own:breaks", "raised RuntimeError: my own bug"),
        ("--comms own:not_a_module", "returned int, not a torch.nn.Module"),
        ("--comms own:no_link", "the link lacks uses (n), bits (k)"),
        ("--comms own:loud", "the mean energy of a block is 12, and must be n = 3"),
        ("--comms own:without_numbers", "what is received must be finite, and holds NaN"),
        ("--comms own:in_train_mode", "train mode; call link.eval()"),
        ("--comms own:of_one_message", "of one message there is nothing to tell"),
        ("--comms own:without_uses", "uses of a link must be a whole number of at least 1"),
        ("--comms own:of_text", "bits of a link must be a whole number of at least 1, got '4'"),
        ("--comms own:of_more_uses", "transmit returned blocks (2, 3) for 2 messages"),
        ("--comms mlp-7-4 --psr nan", "psr: expected levels between"),
        ("--comms mlp-7-4 --psr=-inf", "an attacker without power, who changes nothing"),
        ("--comms mlp-7-4 --psr loud", "--psr: expected levels in dB"),
        ("--comms mlp-7-4 --psr 1e4", "psr: expected levels between"),
        ("--comms mlp-7-4 --snr nan", "snr: expected levels between"),
        ("--comms mlp-7-4 --snr 5dB", "--snr: expected levels in dB"),
        ("--comms mlp-7-4 --snr 0:inf:1", "--snr: expected levels in dB"),
        ("--comms mlp-7-4 --snr 0:14:0", "--snr: expected levels in dB"),
        ("--comms mlp-7-4 --blocks 0", "blocks must be at least"),
        ("--comms mlp-7-4 --blocks many", "--blocks: expected a whole number"),
        ("--comms mlp-7-4 --model digits-mlp", "--model is about a model of images"),
        ("--psr -6", "--psr is a setting of --comms; give both"),
        (
            "--model mlp-7-4",
            "mlp-7-4 is a radio link, not a model of images: trompe audit --comms mlp-7-4",
        ),
        ("--model mlp-7-4 --data digits", "mlp-7-4 is a radio link, not a model of images"),
    ],
)
def test_a_link_that_cannot_be_audited(
    run: Run, home: Path, words: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROMPE_CACHE", str(home / "zoo"))
    (home / "own.py").write_text(LINKS)
    ran = run("audit", "--out", "new/report", *words.split())
    assert ran.code == 2, ran
    assert ran.out == ""
    assert answer in ran.sentence
    assert not (home / "new").exists()
    assert not (home / "zoo").exists(), "nothing is trained for what is then refused"


@pytest.mark.parametrize("verb", [("attack", "pgd", "--eps", "0.1"), ("doctor",)])
def test_a_radio_is_no_model_of_images(run: Run, verb: tuple[str, ...]) -> None:
    ran = run(*verb, "--model", "cnn-7-4")
    assert (ran.code, ran.out) == (2, "")
    assert "trompe audit --comms cnn-7-4" in ran.sentence
