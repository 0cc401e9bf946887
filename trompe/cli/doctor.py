"""`trompe doctor`: can a robust accuracy be believed?"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from trompe.cli.command import Command, DataRoot, option
from trompe.cli.console import progress, say, show_table
from trompe.cli.files import write_file
from trompe.cli.subjects import check_radius, classifier, data_for, examples, users_code
from trompe.cli.values import radius
from trompe.core.errors import UserError

if TYPE_CHECKING:
    from trompe.evaluation.checks import Diagnosis

__all__ = ["Doctor"]

_PURPOSE = "the doctor examines classifiers: give the classifier, or the defended one"
_ANSWER = {True: "passed", False: "FAILED", None: "not asked"}


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check whether attacks on a classifier can be believed: signs of masked gradients.

    Exit code 0 if every check that could be asked passed, 1 if one failed.
    """

    model: Annotated[
        str,
        option(
            "A recipe of the zoo (trompe zoo list), or module:function, which runs your "
            "code and returns an nn.Module in eval mode.",
            metavar="MODEL",
        ),
    ]

    data: Annotated[
        str | None,
        option(
            "digits, mnist, fashion-mnist, an .npz file, a folder of class folders of "
            "images, or module:function, which runs your code.",
            metavar="DATA",
            default="what the recipe was made for",
        ),
    ] = None

    eps: Annotated[
        str | None,
        option(
            "The radius at which robust accuracy is claimed, such as 8/255, in units of the input.",
            metavar="RADIUS",
            default="8/255 for colour images, else 0.1",
        ),
    ] = None

    norm: Annotated[
        Literal["Linf", "L2", "L1"],
        option(
            "Norm of the radius.",
        ),
    ] = "Linf"

    n: Annotated[
        int,
        option(
            "Examples to look at.",
            metavar="N",
        ),
    ] = 64

    steps: Annotated[
        int,
        option(
            "Steps of the white-box attack; the longer one takes four times as many.",
            metavar="N",
        ),
    ] = 40

    queries: Annotated[
        int,
        option(
            "Queries of the black-box attack.",
            metavar="N",
        ),
    ] = 500

    draws: Annotated[
        int,
        option(
            "Draws of a random model, for each gradient.",
            metavar="N",
        ),
    ] = 10

    surrogate: Annotated[
        str | None,
        option(
            "Another classifier, from which attacks are transferred; module:function runs "
            "your code.",
            metavar="MODEL",
            default="transfer is not asked",
        ),
    ] = None

    seed: Annotated[
        int,
        option(
            "Of every random draw.",
            metavar="N",
        ),
    ] = 0

    json: Annotated[
        Path | None,
        option(
            "Write the checks as JSON as well.",
            metavar="PATH",
            default="no file",
        ),
    ] = None

    data_root: DataRoot = None

    def run(self, command: str) -> int:
        """Ask every question, show the answers."""
        from trompe.core.geometry import Ball
        from trompe.data import rooted
        from trompe.evaluation.checks import doctor

        for name in ("steps", "queries", "draws"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        with (
            users_code(self.model, self.data, self.surrogate),
            rooted(self.data_root),
            progress("doctor") as told,
        ):
            data, _ = examples(data_for(self.model, self.data), self.n, self.data_root)
            usual = 8 / 255 if data.shape[0] == 3 else 0.1
            eps = usual if self.eps is None else radius(self.eps)
            check_radius(eps, self.norm, data)
            model = classifier(self.model, data, _PURPOSE)
            other = None if self.surrogate is None else classifier(self.surrogate, data, _PURPOSE)
            found = doctor(
                model,
                data,
                Ball(eps, self.norm),
                surrogate=other,
                n=len(data),
                steps=self.steps,
                queries=self.queries,
                draws=self.draws,
                seed=self.seed,
                progress=told,
            )
        if self.json is not None:
            write_file(self.json, self._json(found, eps, command))
        rows = [(_ANSWER[c.passed], c.name, c.detail) for c in found.checks]
        title = f"{self.model} on {len(data)} examples of {data.name}, {self.norm} {eps:.4g}"
        show_table(("", "Check", "What was seen"), rows, title)
        for check in found.checks:
            if check.passed is False:
                say(f"{check.name}: {check.why}")
        say(found.verdict, style="bold")
        return 0 if found.healthy else 1

    def _json(self, found: "Diagnosis", eps: float, command: str) -> bytes:
        from trompe.evaluation.records import versions

        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        content = {
            "schema": 1,
            "command": command,
            "settings": {**settings, "eps": eps},
            "healthy": found.healthy,
            "verdict": found.verdict,
            "checks": [asdict(check) for check in found.checks],
            "versions": versions(),
        }
        return (json.dumps(content, indent=1) + "\n").encode()
