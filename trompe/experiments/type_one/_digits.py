"""Type I digits, made once: what the items of this paper ask of an attack on a victim is kept in the zoo.

Images are attacked in blocks, each kept as soon as it is done: a run that was cut off goes on from there, one
that wants more images adds to what is at hand, and two that want the same block share it. The name of a block
is a hash of the weights of victim and SVAE and of every setting of the attack.
"""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.attacks.base import Attack

__all__ = ["BLOCK", "Made", "Transformed", "transformed"]

BLOCK = 100
"""Images attacked and kept together."""
PROCEDURE = 1  # raised when the same attack would give other images


@dataclass(frozen=True)
class Made:
    """Which images are attacked, on whom, and how.

    Args:
        attack: a `trompe.attacks.type_one.TypeI`; networks are bound here.
        n: the first so many images that the victim classifies correctly.
        victim, svae: recipes of the zoo.
        data, split: where the images come from.
        seed: of the attack's draws.
        bf16: search in bfloat16, and accept in float32: three quarters of the time at the same rates.
    """

    attack: Any
    n: int
    victim: str = "mnist-mlp"
    svae: str = "mnist-svae"
    data: str = "mnist"
    split: str = "test"
    seed: int = 0
    bf16: bool = True


@dataclass(frozen=True, eq=False)
class Transformed:
    """Images before and after a Type I attack, and what the victim makes of both.

    Args:
        index: of each image in its set, `(n,)`.
        x, y: the images `(n, C, H, W)`, and their labels, which the victim gives them too.
        target: the class that each was to become, `(n,)`.
        x_adv: what it became.
        before, logits: the victim's logits `(n, K)` on `x` and on `x_adv`.
        seconds: what each image cost when it was made, `(n,)`.
    """

    index: "Tensor"
    x: "Tensor"
    y: "Tensor"
    target: "Tensor"
    x_adv: "Tensor"
    before: "Tensor"
    logits: "Tensor"
    seconds: "Tensor"

    def __len__(self) -> int:
        return len(self.y)

    @property
    def kept(self) -> "Tensor":
        """Whether the victim still gives the old label to the new image, `(n,)` bool."""
        return self.logits.argmax(1) == self.y

    @property
    def confidence(self) -> "Tensor":
        """The victim's probability of the old label on the new image, `(n,)`."""
        return self.logits.softmax(1).gather(1, self.y[:, None])[:, 0]

    def take(self, n: int) -> "Transformed":
        """The first n."""
        return self.part(slice(n))

    def part(self, some: "Tensor | slice") -> "Transformed":
        """Some of them."""
        return replace(self, **{f.name: getattr(self, f.name)[some] for f in fields(self)})


def transformed(made: Made, victim: "nn.Module | None" = None) -> Transformed:
    """The images that an attack makes of digits which its victim reads correctly: those kept, or made now.

    Args:
        made: what is asked for.
        victim: attacked in place of the recipe's; the images are then those that both read correctly.

    Raises:
        UserError: the set has too few images that the victim reads correctly.
    """
    import torch

    from trompe import zoo

    named = zoo.get(made.victim, progress=False)
    attacked = named if victim is None else victim
    attack: Attack = made.attack.using(svae=zoo.get(made.svae, progress=False))
    rows = _rows([named, attacked], made)
    folder = _folder(attacked, attack, made)
    parts = []
    for block in range(math.ceil(made.n / BLOCK)):
        some = rows[block * BLOCK : (block + 1) * BLOCK]
        parts.append(_kept(folder, block, some, attacked, attack, made))
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Transformed(**whole).take(made.n)


def _rows(models: "list[nn.Module]", made: Made) -> "Tensor":
    """Which images are attacked, `(m,)`; the last block is whole, if the set has so many."""
    import torch

    from trompe import data
    from trompe.core.errors import UserError

    found = torch.empty(0, dtype=torch.int64)
    with torch.no_grad():
        for x, y, index in data.load(made.data, made.split).batches(1000):
            right = torch.stack([model(x).argmax(1) == y for model in models]).all(0)
            found = torch.cat([found, index[right]])
            if len(found) >= made.n + BLOCK:
                break
    if len(found) < made.n:
        raise UserError(
            f"{made.data} ({made.split}) has {len(found)} images that {made.victim} reads correctly; "
            f"{made.n} were asked for"
        )
    return found[: math.ceil(made.n / BLOCK) * BLOCK]


def _folder(victim: "nn.Module", attack: "Attack", made: Made) -> Path:
    """Where the blocks lie: a name of everything they depend on, but for how many there are."""
    from trompe import zoo
    from trompe.evaluation.cases import weights_digest
    from trompe.zoo.store import digest

    content = {
        "attack": attack.describe(),
        "victim": weights_digest(victim),
        "chosen": made.victim,
        "svae": weights_digest(attack.network("svae")),
        "data": [made.data, made.split],
        "how": [made.seed, made.bf16, BLOCK, PROCEDURE],
    }
    return zoo.root() / f"type-one-{made.victim}-{digest(content)[:16]}"


def _kept(
    folder: Path,
    block: int,
    rows: "Tensor",
    victim: "nn.Module",
    attack: "Attack",
    made: Made,
) -> dict[str, "Tensor"]:
    """One block: read, or made and written, by one process at a time."""
    from filelock import FileLock

    from trompe.training import load_tensors, save_tensors

    path = folder / f"{block:04d}-{len(rows)}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            save_tensors(path, _attacked(rows, victim, attack, made), {})
    return load_tensors(path)[0]


def _attacked(rows: "Tensor", victim: "nn.Module", attack: Any, made: Made) -> dict[str, "Tensor"]:
    """What the attack makes of these images."""
    import time

    import torch

    from trompe import data
    from trompe.core.execution import execution
    from trompe.core.random import seeds

    x, y = data.load(made.data, made.split).tensors(rows)
    assert y is not None
    own = seeds(made.seed, rows)
    start = time.perf_counter()
    with execution(precision="bf16" if made.bf16 else "float32"):
        x_adv = attack(victim, x, y, seeds=own)
    cost = torch.full((len(x),), (time.perf_counter() - start) / len(x))
    with torch.no_grad():
        before, logits = victim(x), victim(x_adv)
    target = attack.targets(victim, x, y, own)
    return dict(
        zip(
            (f.name for f in fields(Transformed)),
            (rows, x, y, target, x_adv, before, logits, cost),
            strict=True,
        )
    )
