"""`trompe audit`: a model in, a report out."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from trompe.cli.command import Command, DataRoot, option
from trompe.cli.console import notice, progress, say
from trompe.cli.files import require_folder
from trompe.cli.links import Blocks, Comms, Psr, Snr, check_options, link_plan, received
from trompe.cli.subjects import check_radius, data_for, device, users_code
from trompe.cli.values import duration, radii, rate
from trompe.core.errors import UserError
from trompe.core.user_code import refuse_pickles

if TYPE_CHECKING:
    from trompe.audit import LinkPlan, Plan
    from trompe.reports import Metric, Report

__all__ = ["Audit", "robust_accuracy"]

_ROBUST = re.compile(r"(?P<who>.+): robust accuracy at \S+ (?P<eps>[\d.e+-]+)")


@dataclass(frozen=True, kw_only=True)
class Audit(Command):
    """Examine an autoencoder, a classifier or a radio link and write a report: HTML, Markdown and JSON.

    Without --model or --comms, trains a small VAE and a classifier on the data (seconds) and audits both.
    Before it starts it says what it will cost. Ctrl-C leaves a usable partial report; --resume goes on.
    """

    model: Annotated[
        str | None,
        option(
            "A recipe of the zoo (trompe zoo list), or module:function, which runs your "
            "code and returns an nn.Module in eval mode; the working directory is on "
            "Python's path for that. An autoencoder is what has encode and decode; anything"
            " else must return logits.",
            metavar="MODEL",
            default="train a VAE and a classifier",
        ),
    ] = None

    data: Annotated[
        str | None,
        option(
            "digits, mnist, fashion-mnist, an .npz file with x and y, a folder of class "
            "folders of images, or module:function, which runs your code.",
            metavar="DATA",
            default="the recipe's, else digits",
        ),
    ] = None

    defense: Annotated[
        str | None,
        option(
            "reconstruct puts an autoencoder before the classifier; magnet adds detectors, "
            "which may refuse an image; module:function runs your code: it takes the "
            "classifier and returns the defended one. Each meets every attacker of a ladder.",
            metavar="DEFENSE",
            default="none",
        ),
    ] = None

    autoencoder: Annotated[
        str | None,
        option(
            "What --defense reconstruct or magnet reconstructs with: a recipe, or "
            "module:function (runs your code).",
            metavar="MODEL",
            default="train one",
        ),
    ] = None

    scale: Annotated[
        float,
        option(
            "Deviations of the posterior that --defense reconstruct draws its codes with, "
            "anew at every look; 0 takes the mean.",
            metavar="S",
        ),
    ] = 0.0

    input_noise: Annotated[
        float,
        option(
            "Deviation of the noise that --defense reconstruct adds to its input, anew at "
            "every look.",
            metavar="P",
        ),
    ] = 0.0

    fpr: Annotated[
        float | None,
        option(
            "Share of clean images that the detectors of --defense magnet may refuse; their "
            "thresholds are set on half of the test images, 5000 at most, and the others are attacked.",
            metavar="SHARE",
            default="0.01",
        ),
    ] = None

    eps: Annotated[
        str | None,
        option(
            "Radii of the robust-accuracy curve, such as 8/255 or 0.1,0.2,0.3, in units of "
            "the input.",
            metavar="RADII",
            default="by the data",
        ),
    ] = None

    norm: Annotated[
        Literal["Linf", "L2", "L1"],
        option(
            "Norm of the radii.",
        ),
    ] = "Linf"

    n: Annotated[
        int | None,
        option(
            "Test examples to attack.",
            metavar="N",
            default="by the data or the budget",
        ),
    ] = None

    budget: Annotated[
        str | None,
        option(
            "Time to stay within, such as 90s, 20m or 1h: fewer examples are attacked.",
            metavar="TIME",
            default="no limit",
        ),
    ] = None

    fail_under: Annotated[
        float | None,
        option(
            "Exit with code 1, after the report is written, if robust accuracy at the "
            "largest radius is below this share; of a defended model, that where each image "
            "meets the worst of all attackers; of a radio link, the share of blocks that arrive "
            "under the worst attacker of the largest power.",
            metavar="SHARE",
            default="never",
        ),
    ] = None

    out: Annotated[
        Path,
        option(
            "Folder of the report.",
            metavar="FOLDER",
        ),
    ] = Path("trompe-report")

    resume: Annotated[
        bool,
        option(
            "Go on with what an interrupted audit left in that folder.",
        ),
    ] = False

    seed: Annotated[
        int,
        option(
            "Of every random draw.",
            metavar="N",
        ),
    ] = 0

    draws: Annotated[
        int,
        option(
            "Looks at a random model, for each number reported.",
            metavar="N",
        ),
    ] = 20

    device: Annotated[
        str,
        option(
            "Where to compute: cpu, cuda, cuda:1.",
            metavar="DEVICE",
        ),
    ] = "cpu"

    precision: Annotated[
        Literal["float32", "bf16", "auto"],
        option(
            "Precision of the searches; what they claim is checked in float32, and so is what is "
            "reported. auto takes bf16 where the processor multiplies it.",
        ),
    ] = "float32"

    data_root: DataRoot = None
    comms: Comms = None
    psr: Psr = None
    snr: Snr = None
    blocks: Blocks = None

    def plan(self) -> "Plan":
        """What the options ask for."""
        from trompe.audit import Plan
        from trompe.data import load

        refuse_pickles(self.model, self.data)
        refuse_pickles(self.autoencoder)
        data = "digits" if self.model is None and self.data is None else self._data()
        eps = () if self.eps is None else radii(self.eps)
        if eps and eps[-1] > 1:
            check_radius(eps[-1], self.norm, load(data, "test", self.data_root))
        return Plan(
            model=self.model,
            data=data,
            defense=self.defense,
            autoencoder=self.autoencoder,
            scale=self.scale,
            input_noise=self.input_noise,
            fpr=self.fpr,
            eps=eps,
            norm=self.norm,
            n=self.n,
            budget=None if self.budget is None else duration(self.budget),
            seed=self.seed,
            draws=self.draws,
            device=str(device(self.device)),
            precision=self.precision,
            out=require_folder(self.out),
            resume=self.resume,
            data_root=self.data_root,
        )

    def _data(self) -> str:
        return data_for(self.model or "", self.data)

    def run(self, command: str) -> int:
        """Say the cost, audit, show the findings and where the report is."""
        least = None if self.fail_under is None else rate(self.fail_under, "--fail-under")
        given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        check_options(given, self.comms is not None)
        with users_code(self.model, self.data, self.defense, self.autoencoder, self.comms):
            report = self._image(command) if self.comms is None else self._link(self.comms, command)
        _show(report, self.out.expanduser())
        if least is None:
            return 0
        defended = self.defense is not None
        return _gate(received(report) if self.comms else robust_accuracy(report, defended), least)

    def _image(self, command: str) -> "Report":
        from trompe.audit import audit, estimate

        plan = self.plan()
        cost = estimate(plan)
        notice(str(cost))
        with progress("audit") as told:
            return audit(plan, command=command, cost=cost, progress=told)

    def _link(self, comms: str, command: str) -> "Report":
        from trompe.audit import audit_link, estimate_link

        plan = self.link_plan(comms)
        cost = estimate_link(plan)
        notice(str(cost))
        with progress("audit") as told:
            return audit_link(plan, command=command, cost=cost, progress=told)

    def link_plan(self, comms: str) -> "LinkPlan":
        """What the options ask of a radio link."""
        levels = self.psr, self.snr, self.blocks
        return link_plan(comms, *levels, self.budget, self.seed, self.out, self.resume)


def _show(report: "Report", folder: Path) -> None:
    say(report.title, style="bold")
    for text in (report.summary, report.missing if report.partial else ""):
        if text:
            say(text)
    say()
    for finding in report.ranked:
        say(f"{finding.severity:>8}  {finding.headline}")
        if finding.interval:
            say(f"{'':8}  {finding.interval}", style="dim")
    if report.verdict:
        say()
        say(report.verdict)
    say()
    for name in ("report.html", "report.md", "report.json"):
        say(str(folder / name))


def robust_accuracy(report: "Report", defended: bool) -> "Metric | None":
    """The metric that `--fail-under` judges: at the largest radius, in the worst case over the suite.

    Args:
        report: of a classifier.
        defended: whether a defense was asked for; then that of the defended model, where each image
            meets the worst of all attackers.
    """
    named = ((metric, _ROBUST.fullmatch(metric.name)) for metric in report.metrics)
    found = [
        (float(match["eps"]), metric)
        for metric, match in named
        if match and (" behind " in match["who"]) == defended
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _gate(found: "Metric | None", least: float) -> int:
    """The exit code of a pipeline: 1 where what is left at the largest radius or power is too small."""
    if found is None:
        raise UserError(
            "--fail-under: this report holds no robust accuracy; it takes a classifier or a radio link, "
            "and time to measure it"
        )
    enough = found.value >= least
    verb = "reaches" if enough else "is below"
    notice(f"{found.name} is {found.value:.3f}, which {verb} --fail-under {least:g}")
    return 0 if enough else 1
