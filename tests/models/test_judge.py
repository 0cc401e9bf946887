"""A judge: labels by vote, undecided where too few agree, and nothing of it in train mode."""

import pytest
import torch
from torch import nn

from trompe.core.errors import UserError
from trompe.models.judge import PROXY, UNDECIDED, Judge


class Says(nn.Module):
    """Gives each image the label that stands in one of its pixels."""

    def __init__(self, pixel: int) -> None:
        super().__init__()
        self.pixel = pixel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * nn.functional.one_hot(x.flatten(1)[:, self.pixel].long(), 4).float()


class Bright(nn.Module):
    """Takes an image as real where its last pixel is lit."""

    def accept(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, -1] > 0


def judge(**settings: object) -> Judge:
    members = {str(pixel): Says(pixel).eval() for pixel in range(3)}
    return Judge(members, Bright(), **settings)  # type: ignore[arg-type]


def images(*rows: tuple[int, int, int, int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 1, 2, 2)


def test_a_label_needs_a_majority() -> None:
    seen = judge()(images((1, 1, 1, 0), (2, 3, 2, 1), (0, 1, 2, 1)))
    assert seen.label.tolist() == [1, 2, UNDECIDED]
    assert seen.real.tolist() == [False, True, True]
    sure = float(torch.tensor([5.0, 0, 0, 0]).softmax(0)[0])
    assert seen.confidence.tolist() == pytest.approx([sure, (2 * sure + (1 - sure) / 3) / 3, 0])


@pytest.mark.parametrize(("agree", "label"), [(1, 2), (2, 2), (3, UNDECIDED)])
def test_how_many_must_agree_is_a_setting(agree: int, label: int) -> None:
    assert judge(agree=agree)(images((2, 3, 2, 1))).label.tolist() == [label]


def test_a_member_that_is_very_sure_has_one_vote() -> None:
    members = {"loud": Says(0).eval(), "a": Says(1).eval(), "b": Says(2).eval()}
    loud = nn.Sequential(members["loud"], nn.Linear(4, 4, bias=False)).eval()
    nn.init.eye_(loud[1].weight).data.mul_(1000)
    seen = Judge({**members, "loud": loud}, Bright())(images((3, 1, 1, 1)))
    assert seen.label.tolist() == [1]


def test_each_image_is_judged_alone() -> None:
    x = images((1, 1, 1, 0), (2, 3, 2, 1), (0, 1, 2, 1))
    together = judge()(x)
    for column, alone in zip(
        together, zip(*(judge()(row) for row in x.split(1)), strict=True), strict=True
    ):
        assert torch.equal(column, torch.cat(alone))


def test_the_card_says_who_votes_and_that_they_are_no_people() -> None:
    card = judge(card={"right": 98, "n": 100}).card()
    assert card == {"members": ["0", "1", "2"], "agree": 2, "proxy": PROXY, "right": 98, "n": 100}


def test_slips_are_told() -> None:
    with pytest.raises(UserError, match="at least one classifier"):
        Judge({}, Bright())
    with pytest.raises(UserError, match=r"1\.\.3"):
        judge(agree=4)
    with pytest.raises(UserError, match="train mode"):
        Judge({"a": Says(0).train()}, Bright())
