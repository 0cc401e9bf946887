"""What the items' pages share: finding records, showing means, and sentences that follow from them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["KINDS", "VECTOR", "Found", "classifiers", "conditions", "shown", "vector_rows", "words"]

VECTOR = (
    "Shift",
    "Hoyer",
    "Entries above 0.1",
    "L1",
    "L2",
    "Largest",
    "P, largest entry",
    "P, mean",
    "P, any entry",
)
KINDS = ("Independent", "Poisoning", "Poisoning+Class")


class Found:
    """Records by what they say: metric, row and group."""

    def __init__(self, records: Iterable["Record"]) -> None:
        self.records = list(records)
        self._known = {(r.metric, r.attack, str(r.config.get("group"))): r for r in self.records}
        first = next(r for r in self.records if "names" in r.config)
        self.names: tuple[str, ...] = tuple(map(str, first.config["names"]))
        self.beta = float(first.config["beta"])

    def at(self, metric: str, attack: str, group: str) -> "Record":
        """The one of that place."""
        return self._known[metric, attack, group]

    def attacks(self) -> list[str]:
        """Every shift, in the order measured."""
        return list(dict.fromkeys(r.attack for r in self.records if r.attack))

    def vectors(self, attack: str) -> list["Record"]:
        """The description of a shift: one record, or one per direction."""
        return [r for r in self.records if r.attack == attack and r.metric == "Hoyer sparsity"]

    def case(self, attack: str) -> Mapping[str, object]:
        """The settings of a shift."""
        found: Mapping[str, object] = self.vectors(attack)[0].config["case"]
        return found

    def named(self, group: str) -> str:
        """A group in the classes' own names.

        `"0 -> 1"` becomes `"3 → 8"`, `"original 1"` becomes `"original 8"`.
        """
        head, _, tail = group.rpartition(" ")
        if head.endswith("->"):
            return f"{self.names[int(head[0])]} → {self.names[int(tail)]}"
        return f"{head} {self.names[int(tail)]}"


def shown(record: "Record", digits: int = 2) -> str:
    """A mean or a rate with its interval.

    >>> from trompe.evaluation.records import Record
    >>> shown(Record("m", 0.5, 10, 0.4, 0.61))
    '0.50 [0.40, 0.61]'
    """
    text = f"{record.value:.{digits}f}"
    if record.low is None or record.high is None:
        return text
    return f"{text} [{record.low:.{digits}f}, {record.high:.{digits}f}]"


def words(items: Sequence[str]) -> str:
    """A list in a sentence; of nothing, "none"."""
    if not items:
        return "none"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def classifiers(found: Found) -> str:
    """How good the two classifiers are on untouched test images."""
    roles = {str(r.config["role"]): r for r in found.records if r.metric == "accuracy"}
    parts = [f"the {role} {shown(record, 3)}" for role, record in roles.items()]
    count = next(iter(roles.values())).n
    return (
        f"Accuracy on {count} untouched test images: {words(parts)}. They are two architectures with two "
        "seeds, trained and fixed before any shift was learned; everything below is read by the judge."
    )


def conditions(found: Found) -> str:
    """The effective beta, and how poisoning was trained."""
    config = next(r for r in found.records if "beta" in r.config).config
    subject: Mapping[str, object] = config.get("subject", {})
    text = (
        "Effective beta, the weight of the KL term in an ELBO of sums with the same minimum: "
        f"{found.beta:g}. A shift's loss reaches the shift alone: *Poisoning* trains the VAE as if nothing "
        "were shifted, and differs from *Independent* in the steps and codes that its shift is learned on."
    )
    if subject.get("warm"):
        text += (
            f" The poisoning runs go on from the independent VAE's weights for {_epochs(subject['warm'])}, "
            f"where the paper trains from nothing; that VAE has {_epochs(subject['epochs'])}, channels "
            f"{subject['channels']} and {subject['latent']} latents."
        )
    return text


def _epochs(count: object) -> str:
    """A number of epochs in words."""
    number = float(str(count))
    return "one epoch" if number == 1 else f"{number:g} epochs"


def vector_rows(found: Found, attacks: Sequence[str]) -> list[tuple[str, ...]]:
    """What each shift looks like: sparsity, norms, and how a test of single coordinates sees it."""
    rows: list[tuple[str, ...]] = []
    for attack in attacks:
        for record in found.vectors(attack):
            e = record.extra
            way = (
                ""
                if record.config["group"] == "both"
                else f" ({found.named(str(record.config['group']))})"
            )
            rows.append(
                (
                    attack + way,
                    f"{record.value:.2f}",
                    f"{e['noticeable']:.0f} of {record.n}",
                    f"{e['L1']:.1f}",
                    f"{e['L2']:.2f}",
                    f"{e['largest']:.2f}",
                    f"{e['tail max']:.3f}",
                    f"{e['tail mean']:.4f}",
                    f"{e['tail any']:.3f}",
                )
            )
    return rows
