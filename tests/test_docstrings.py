"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import trompe

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(trompe.__path__, "trompe.")
    if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples in {name}"
