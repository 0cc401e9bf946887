"""`trompe attack type-one` and its kin: attacks that move the codes of images, and what they make of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from trompe.cli.attack import AttackCommand
from trompe.cli.command import option
from trompe.cli.console import notice
from trompe.cli.subjects import classifier, data_for
from trompe.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from trompe.attacks.base import Attack
    from trompe.data import Dataset
    from trompe.evaluation.applied import Setting, Taken

__all__ = ["ThroughCodes"]

_PURPOSE = "what is to keep its answer is a classifier"


@dataclass(frozen=True, kw_only=True)
class ThroughCodes(AttackCommand):
    """An attack that moves the codes of a supervised VAE, on images that the model reads correctly."""

    fixed: ClassVar[tuple[str, ...]] = ("keep",)

    svae: Annotated[
        str | None,
        option(
            "The supervised VAE whose codes are moved: a recipe of the zoo, or module:function, which runs "
            "your code.",
            metavar="MODEL",
            default="that of the data, trained first where there is none",
        ),
    ] = None

    def specs(self) -> tuple[str | None, ...]:
        """The SVAE may be the user's too."""
        return *super().specs(), self.svae

    def victim(self, data: "Dataset") -> "nn.Module":
        """A classifier."""
        return classifier(self.model, data, _PURPOSE)

    def bound(self, attack: "Attack", setting: "Setting") -> "Attack":
        """The attack with its SVAE."""
        from trompe import zoo
        from trompe.audit.victim import named, recipe
        from trompe.data import load

        if self.svae is not None:
            return attack.using(svae=named(self.svae).to(setting.device))
        if setting.data.y is None or len(setting.data.shape) != 3:
            raise UserError(
                f"{setting.data.name} holds no labelled images, and {self.verb} needs them; "
                "give --svae, or other data"
            )
        spec = data_for(self.model, self.data)
        train = load(spec, "train")
        return attack.using(svae=zoo.get(recipe("svae", spec, train)).to(setting.device))

    def measured(self, model: "nn.Module", attack: "Attack", setting: "Setting") -> "Taken":
        """The attack, and what judges that it does not know make of its images."""
        from trompe import zoo
        from trompe.audit.victim import barred
        from trompe.evaluation.applied import on_transition

        without, spec = barred(model), data_for(self.model, self.data)
        judge = zoo.judge_for(spec, without=without)
        taken = on_transition(model, judge.to(setting.device), attack, setting)
        if not without:
            notice(f"{self.model}'s kind of network is unknown, so a judge may be of it")
        if setting.data.split == "all":
            notice(
                f"{spec} has no test images of its own: the SVAE and the judges learn from those changed"
            )
        found = taken.records[0].extra
        for reason in ("victim erred", "of the target already"):
            if found[reason]:
                notice(f"left out: {found[reason]:.0f} of {found['asked']:.0f} images ({reason})")
        return taken

    def files(
        self, model: "nn.Module", attack: Any, taken: "Taken", setting: "Setting"
    ) -> dict[str, bytes]:
        """The arrays and images, and a picture of the ways of the first few."""
        from trompe.audit.trajectories import trajectories
        from trompe.reports.images import png_bytes
        from trompe.reports.pictures import mosaic

        files = super().files(model, attack, taken, setting)
        if not self.pictures:
            return files
        rows = slice(0, self.pictures)
        assert taken.y is not None
        x, y = taken.x[rows], taken.y[rows].to(taken.x.device)
        index = [setting.places.index(place) for place in taken.index[rows].tolist()]
        grid = trajectories(model, attack, x, y, setting.data, index=index, seed=setting.seed)
        drawn = mosaic(grid, rows=self.pictures, titled=True)
        return files | {"trajectories.png": png_bytes(drawn)}
