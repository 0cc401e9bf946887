"""Trained models by recipe: load the checkpoint that a recipe names, or train it.

    model = zoo.get("mnist-conv4")

A recipe is data. Its hash names the checkpoint, so that changing any number of it trains anew, and
two programs that ask for the same recipe share one training, also when they ask at the same time.
Beside the weights lies a card: the recipe, checksums of the data, measured clean metrics, versions.
What no recipe describes is kept in the same way by `keep`. `judge_for` is a judge of what images show.
"""

from trompe.zoo.judges import judge_for
from trompe.zoo.making import card, get, measure, path
from trompe.zoo.radios import PUBLISHED, RADIOS, REDUCED, Radio, is_radio, radio, radio_named
from trompe.zoo.recipes import RECIPES, Recipe, names, recipe
from trompe.zoo.store import keep, root

__all__ = [
    "PUBLISHED",
    "RADIOS",
    "RECIPES",
    "REDUCED",
    "Radio",
    "Recipe",
    "card",
    "get",
    "is_radio",
    "judge_for",
    "keep",
    "measure",
    "names",
    "path",
    "radio",
    "radio_named",
    "recipe",
    "root",
]
