"""`trompe zoo`: the trained models, by recipe."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from trompe.cli.command import Command, option
from trompe.cli.console import say, show_table

if TYPE_CHECKING:
    from trompe.zoo import Radio, Recipe

__all__ = ["ZooCard", "ZooList", "ZooTrain"]


@dataclass(frozen=True, kw_only=True)
class ZooList(Command):
    """List the recipes, and which of them have been trained here."""

    root: Annotated[
        Path | None,
        option(
            "Where checkpoints lie.",
            metavar="FOLDER",
            default="$TROMPE_CACHE, else your cache",
        ),
    ] = None

    def run(self, command: str) -> int:
        """Show one line per recipe."""
        from trompe import zoo
        from trompe.models import ClassifierConfig, FaceConfig, GANConfig

        kinds = {ClassifierConfig: "classifier", FaceConfig: "embedder", GANConfig: "GAN"}
        rows = []
        for name in zoo.names():
            recipe = zoo.recipe(name)
            config = next((own for own in kinds if isinstance(recipe.model, own)), None)
            kind = "autoencoder" if config is None else kinds[config]
            shape = "x".join(map(str, recipe.model.shape))
            rows.append((name, kind, recipe.data, shape, _state(recipe, self.root)))
        for name in zoo.RADIOS:
            how = zoo.radio_named(name)
            shape = f"{how.model.k} bits in {how.model.n} uses"
            rows.append((name, "radio", "messages", shape, _state(how, self.root)))
        show_table(("Recipe", "Kind", "Data", "Input", "State"), rows)
        return 0


def _state(recipe: "Recipe | Radio", root: Path | None) -> str:
    from trompe import zoo
    from trompe.core.errors import UserError

    try:
        metrics = zoo.card(recipe, root=root)["metrics"]
    except UserError:
        return "not trained"
    known = {k: v for k, v in metrics.items() if k != "n"}
    return "trained: " + ", ".join(f"{k} {v:.4g}" for k, v in known.items())


@dataclass(frozen=True, kw_only=True)
class _OneRecipe(Command):
    recipe: Annotated[
        tyro.conf.Positional[str],
        option(
            "A name of trompe zoo list, or mlp-N-K or cnn-N-K: a radio of K bits in N channel uses.",
            metavar="RECIPE",
        ),
    ]

    seed: Annotated[
        int | None,
        option(
            "Another seed, which is another model.",
            metavar="N",
            default="the recipe's",
        ),
    ] = None

    root: Annotated[
        Path | None,
        option(
            "Where checkpoints lie.",
            metavar="FOLDER",
            default="$TROMPE_CACHE, else your cache",
        ),
    ] = None

    def chosen(self) -> "Recipe | Radio":
        """The recipe with the seed."""
        from trompe import zoo

        radio = zoo.is_radio(self.recipe)
        found = zoo.radio_named(self.recipe) if radio else zoo.recipe(self.recipe)
        return found if self.seed is None else replace(found, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class ZooTrain(_OneRecipe):
    """Train a recipe, or load it if it has been trained; print its measured metrics."""

    def run(self, command: str) -> int:
        """Train under a lock; an interrupted training continues where its last epoch ended."""
        from trompe import zoo

        recipe = self.chosen()
        zoo.get(recipe, root=self.root)
        say(f"{recipe.name}: {_state(recipe, self.root)}")
        say(str(zoo.path(recipe, root=self.root)))
        return 0


@dataclass(frozen=True, kw_only=True)
class ZooCard(_OneRecipe):
    """Print the card of a trained recipe: how it was made, and what was measured."""

    format: Annotated[
        Literal["text", "json"],
        option(
            "A table to read, or the JSON as it lies beside the weights.",
        ),
    ] = "text"

    def run(self, command: str) -> int:
        """Show the card."""
        from trompe import zoo

        card = zoo.card(self.chosen(), root=self.root)
        if self.format == "json":
            say(json.dumps(card, indent=2))
            return 0
        rows = [
            (group, key, value)
            for group, content in card.items()
            for key, value in (content.items() if isinstance(content, dict) else [("", content)])
        ]
        show_table(("", "", ""), rows, self.recipe)
        return 0
