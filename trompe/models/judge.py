"""A judge of what images show, for questions that no network of attacker or victim may answer.

An attack that changes what an image *is* cannot be scored by the classifier it was made for. People should
answer; until they do, classifiers that neither side has seen vote, and may be undecided; and detectors say
whether the image is one of its kind at all, so that garbage, which every classifier gives some label, does
not count.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from trompe.core.errors import UserError

__all__ = ["PROXY", "UNDECIDED", "Judge", "Realness", "Verdict"]

UNDECIDED = -1
"""The label of an image on which too few classifiers agree."""
PROXY = "judged by classifiers, not people"
"""What is said wherever a verdict is counted."""


class Realness(Protocol):
    """`accept(x) -> (B,)` bool: whether an input is like the real ones; `defenses.Guarded` has it."""

    def accept(self, x: Tensor, /) -> Tensor: ...


class Verdict(NamedTuple):
    """What a judge says of a batch.

    Args:
        label: `(B,)` int64, `UNDECIDED` where too few classifiers agree.
        confidence: `(B,)`, the classifiers' mean probability of that label; 0 where undecided.
        real: `(B,)` bool, whether the image is one of its kind at all.
    """

    label: Tensor
    confidence: Tensor
    real: Tensor


class Judge(nn.Module):
    """`judge(x) -> Verdict`: independent classifiers vote, and detectors say whether the image is real.

    An image has the label that at least `agree` classifiers give it. Whoever is judged must share neither
    weights nor architecture with a member: `zoo.judge_for` trains its own, without the kinds it is told.

    Args:
        classifiers: by name, `model(x) -> logits (B, K)` each, in eval mode.
        realness: whatever has `accept(x) -> (B,)` bool, such as a calibrated `defenses.Guarded`.
        agree: votes that a label needs; by default the smallest majority.
        card: how good the judge is, as `card` then returns it.

    Raises:
        UserError: no classifiers, one in train mode, or more votes asked for than there are.

    >>> class Anything(nn.Module):
    ...     def accept(self, x):
    ...         return torch.ones(len(x), dtype=torch.bool)
    >>> upright, turned = nn.Flatten().eval(), nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).eval()
    >>> judge = Judge({"one": upright, "other": turned}, Anything(), agree=1)
    >>> judge(torch.tensor([[[[3.0, 0.0]]]])).label.tolist()
    [0]
    """

    def __init__(
        self,
        classifiers: Mapping[str, nn.Module],
        realness: nn.Module,
        *,
        agree: int | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not classifiers:
            raise UserError("a judge needs at least one classifier")
        if any(model.training for model in classifiers.values()):
            raise UserError("a judge's classifier is in train mode; call eval() on it")
        self.agree = len(classifiers) // 2 + 1 if agree is None else agree
        if not 1 <= self.agree <= len(classifiers):
            raise UserError(
                f"agree must lie in 1..{len(classifiers)}, the number of classifiers, got {self.agree}"
            )
        self.classifiers = nn.ModuleDict(classifiers)
        self.realness = realness
        self._card = dict(card or {})
        self.eval()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Verdict:
        """The verdicts on images `(B, C, H, W)`."""
        told = torch.stack([model(x).softmax(1) for model in self.classifiers.values()])
        votes = nn.functional.one_hot(told.argmax(2), told.shape[2]).sum(0)
        sure = told.mean(0)
        # of two labels with as many votes, the likelier: both may have enough where few are asked for
        best = (votes + sure.clamp(max=0.999)).argmax(1, keepdim=True)
        decided = votes.gather(1, best)[:, 0] >= self.agree
        label = torch.where(decided, best[:, 0], UNDECIDED)
        confidence = torch.where(decided, sure.gather(1, best)[:, 0], 0.0)
        realness: Any = self.realness
        return Verdict(label, confidence, realness.accept(x))

    def card(self) -> dict[str, Any]:
        """How good it is: who votes, `proxy`, and counts on real images that nothing was trained on."""
        rule = {"members": list(self.classifiers), "agree": self.agree, "proxy": PROXY}
        return {**rule, **copy.deepcopy(self._card)}
