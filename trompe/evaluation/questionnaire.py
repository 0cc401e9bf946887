"""Pairs of pictures and questions about them, written out as the human study will read them.

Whether an attacked image became another thing, and whether it is one of its kind at all, is for people to
say. A folder holds `questionnaire.json` (questions, and pairs in the order in which they are asked), the
pictures as PNG files whose names say nothing, and apart from them `key.json`: what each pair is.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trompe.core import random
from trompe.core.domains import Images
from trompe.core.errors import UserError
from trompe.data import Dataset
from trompe.evaluation.judge import garbage
from trompe.evaluation.pairs import Pair
from trompe.evaluation.records import replace_file

__all__ = ["SCHEMA", "questionnaire"]

SCHEMA = 1
ANSWERS = ("yes", "no", "cannot tell")


@dataclass(frozen=True)
class _Item:
    """Two pictures `(C, H, W)` in [0, 1], and what the key says of them."""

    first: Tensor
    second: Tensor
    key: Mapping[str, Any]


def questionnaire(
    folder: Path | str,
    images: Tensor,
    pairs: Sequence[Pair],
    real: Dataset,
    *,
    noun: str = "digit",
    controls: int | None = None,
    seed: int = 0,
) -> Path:
    """Write the pairs, with controls among them, and the questions; the same arguments, the same files.

    Controls tell whether who answers looks: "unchanged" pairs, the same picture twice; "alike", two of one
    class; "different", two of different classes; and "garbage", a picture and what is none.

    Args:
        folder: where everything goes.
        images: originals and what became of them, `(N, 2, C, H, W)`, 8-bit, such as `Result.images`.
        pairs: what the key says of each.
        real: labelled images for the controls, two of each class at least.
        noun: what the images show one of.
        controls: how many of each kind; by default a tenth of the pairs, and at least one.
        seed: of the order, the names and the controls.

    Returns:
        The path of `questionnaire.json`.

    Raises:
        UserError: images and pairs that differ in number, too few real images, a folder that cannot be
            written.
    """
    if len(images) != len(pairs) or not len(pairs):
        raise UserError(
            f"each of at least one pair needs its two images, got {len(pairs)} and {len(images)}"
        )
    each = max(1, round(len(pairs) / 10)) if controls is None else controls
    items = [*_attacked(images, pairs), *_controls(real, each, seed)]
    with random.streams(random.seeds(seed, len(items))):
        order = random.uniform((len(items), 1))[:, 0].argsort().tolist()
    asked, key = [], {}
    for place, number in enumerate(order):
        name, item = f"p{place + 1:04d}", items[number]
        shown = {"id": name}
        for side in ("first", "second"):
            shown[side] = f"pictures/{_blind(seed, name, side)}.png"
            replace_file(Path(folder) / shown[side], _png(getattr(item, side)))
        asked.append(shown)
        key[name] = dict(item.key)
    body = {"schema": SCHEMA, "questions": _questions(noun, real.classes), "pairs": asked}
    path = Path(folder) / "questionnaire.json"
    replace_file(Path(folder) / "key.json", _text({"schema": SCHEMA, "seed": seed, "pairs": key}))
    replace_file(path, _text(body))
    return path


def _questions(noun: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    told = [
        ("same", f"Do both pictures show the same {noun}?", ANSWERS),
        ("class", f"Which {noun} does the second picture show?", (*classes, "none", "cannot tell")),
        ("real", f"Is the second picture a {noun} at all?", ANSWERS),
    ]
    return [{"id": name, "text": text, "answers": list(answers)} for name, text, answers in told]


def _attacked(images: Tensor, pairs: Sequence[Pair]) -> Iterator[_Item]:
    shown = images.float() / 255 if images.dtype == torch.uint8 else images
    for (first, second), pair in zip(shown, pairs, strict=True):
        about = {"index": pair.index, "label": pair.label, "target": pair.target}
        yield _Item(first, second, {"kind": "attacked", **about})


def _controls(real: Dataset, each: int, seed: int) -> Iterator[_Item]:
    """So many pairs of each kind, from images in an order of chance."""
    if real.y is None:
        raise UserError(f"{real.name} has no labels; controls of a questionnaire need them")
    some = real.subset(random.seeds(seed, len(real)).argsort()[: 20 * each + 200])
    x, y = some.tensors()
    assert y is not None
    made = garbage(x[:each], y[:each], seed=seed)
    for place in range(each):
        label = int(y[place])
        first = {"first": label}
        same, other = (y == label).nonzero()[:, 0], (y != label).nonzero()[:, 0]
        same = same[same != place]
        if not len(same) or not len(other):
            raise UserError(f"{real.name}: controls need two images of each class, and two classes")
        alike, unlike = int(same[place % len(same)]), int(other[place % len(other)])
        kind = sorted(made)[place % len(made)]
        yield _Item(x[place], x[place], {"kind": "unchanged", **first})
        yield _Item(x[place], x[alike], {"kind": "alike", **first, "second": label})
        yield _Item(x[place], x[unlike], {"kind": "different", **first, "second": int(y[unlike])})
        yield _Item(x[place], made[kind][place], {"kind": "garbage", **first, "second": kind})


def _blind(seed: int, name: str, side: str) -> str:
    return hashlib.sha256(f"{seed} {name} {side}".encode()).hexdigest()[:12]


def _png(image: Tensor) -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(Images().render(image[None])[0]).save(held, "PNG")
    return held.getvalue()


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"
