"""Type I faces, made once: what several items ask of one attack on an embedder is kept in the zoo.

Faces are attacked in blocks, each kept as soon as it is done: a run that was cut off goes on from there, one
that wants more faces adds to what is at hand, and two that want the same block share it. The name of a block
is a hash of the weights of embedder and SVAE and of every setting of the attack. Faces stay there: no page
shows one.
"""

from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trompe.experiments.type_one._digits import BLOCK

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trompe.data import Dataset
    from trompe.evaluation.verification import Verification

__all__ = ["BLOCK", "Changed", "Faces", "changed", "held_out_people", "people", "verified"]

PROCEDURE = 1  # raised when the same attack would give other images


@dataclass(frozen=True)
class Faces:
    """Which faces are attacked, on whom, and how.

    Args:
        attack: a `trompe.attacks.TypeI(keep="embedding")`; networks are bound here.
        n: the first so many faces of the split.
        embedder, svae: recipes of the zoo.
        data: the set with the labels that the SVAE knows; `people` has the same faces with their people.
        people: who is on them.
        split: where the faces come from.
        seed: of the attack's draws.
        bf16: search in bfloat16, accept in float32.
    """

    attack: Any
    n: int
    embedder: str = "celeba-embedder"
    svae: str = "celeba-svae"
    data: str = "celeba-male"
    people: str = "celeba-identity"
    split: str = "test"
    seed: int = 0
    bf16: bool = False


@dataclass(frozen=True, eq=False)
class Changed:
    """Faces before and after a Type I attack.

    Args:
        index: of each face in its set, `(n,)`.
        x: the faces, `(n, C, H, W)`.
        y: their labels, `(n,)`.
        person: who is on them, `(n,)`.
        target: the label that each was to become, `(n,)`.
        x_adv: what it became.
        distance: between the embedder's outputs on `x` and on `x_adv`, `(n,)`.
        seconds: what each face cost when it was made, `(n,)`.
    """

    index: "Tensor"
    x: "Tensor"
    y: "Tensor"
    person: "Tensor"
    target: "Tensor"
    x_adv: "Tensor"
    distance: "Tensor"
    seconds: "Tensor"

    def __len__(self) -> int:
        return len(self.y)

    def take(self, n: int) -> "Changed":
        """The first n."""
        return replace(self, **{f.name: getattr(self, f.name)[:n] for f in fields(self)})


def changed(faces: Faces) -> Changed:
    """The faces that an attack makes of others: those kept, or made now.

    Raises:
        UserError: the set has too few faces.
    """
    import torch

    from trompe import zoo
    from trompe.core.errors import UserError

    embedder = zoo.get(faces.embedder, progress=False)
    attack = faces.attack.using(svae=zoo.get(faces.svae, progress=False))
    total = len(people(faces.people, faces.split))
    if total < faces.n:
        raise UserError(f"{faces.data} ({faces.split}) has {total} faces; {faces.n} were asked for")
    folder = _folder(embedder, attack, faces)
    parts = []
    for start in range(0, faces.n, BLOCK):
        rows = torch.arange(start, min(start + BLOCK, total))
        parts.append(_kept(folder, rows, embedder, attack, faces))
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Changed(**whole).take(faces.n)


@cache
def people(spec: str, split: str) -> "Dataset":
    """A set of faces with people as labels."""
    from trompe import data

    return data.load(spec, split)


def held_out_people(spec: str, recipe: str) -> "Dataset":
    """The people of the training split on whom the recipe was not trained: they set the threshold."""
    from trompe import zoo

    examples = people(spec, "train")
    first = zoo.recipe(recipe).classes
    assert first is not None
    assert examples.y is not None
    return examples.subset(examples.y >= first)


def verified(
    embedder: "nn.Module", spec: str, recipe: str, *, n: int, seed: int = 0
) -> "Verification":
    """The embedder on the people of the test split, at the threshold that held-out people set."""
    from trompe.evaluation.verification import verification

    held_out = held_out_people(spec, recipe)
    return verification(embedder, people(spec, "test"), held_out=held_out, n=n, seed=seed)


def _folder(embedder: "nn.Module", attack: Any, faces: Faces) -> Path:
    """Where the blocks lie: a name of everything they depend on, but for how many there are."""
    from trompe import zoo
    from trompe.evaluation.cases import weights_digest
    from trompe.zoo.store import digest

    content = {
        "attack": attack.describe(),
        "embedder": weights_digest(embedder),
        "svae": weights_digest(attack.network("svae")),
        "data": [faces.data, faces.people, faces.split],
        "how": [faces.seed, faces.bf16, BLOCK, PROCEDURE],
    }
    return zoo.root() / f"type-one-{faces.embedder}-{digest(content)[:16]}"


def _kept(
    folder: Path, rows: "Tensor", embedder: "nn.Module", attack: Any, faces: Faces
) -> dict[str, "Tensor"]:
    """One block: read, or made and written, by one process at a time."""
    from filelock import FileLock

    from trompe.training import load_tensors, save_tensors

    path = folder / f"{int(rows[0]) // BLOCK:04d}-{len(rows)}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            save_tensors(path, _attacked(rows, embedder, attack, faces), {})
    return load_tensors(path)[0]


def _attacked(
    rows: "Tensor", embedder: "nn.Module", attack: Any, faces: Faces
) -> dict[str, "Tensor"]:
    """What the attack makes of these faces."""
    import time

    import torch

    from trompe import data
    from trompe.core.execution import execution, predict
    from trompe.core.random import seeds

    x, y = data.load(faces.data, faces.split).tensors(rows)
    person = people(faces.people, faces.split).y
    assert y is not None
    assert person is not None
    own = seeds(faces.seed, rows)
    start = time.perf_counter()
    with execution(precision="bf16" if faces.bf16 else "float32"):
        x_adv = attack(embedder, x, y, seeds=own)
    cost = torch.full((len(x),), (time.perf_counter() - start) / len(x))
    distance = (predict(embedder, x) - predict(embedder, x_adv)).norm(dim=1)
    target = attack.targets(embedder, x, y, own)
    values = (rows, x, y, person[rows], target, x_adv, distance, cost)
    return dict(zip((f.name for f in fields(Changed)), values, strict=True))
