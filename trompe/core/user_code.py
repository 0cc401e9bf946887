"""The user's own code, called by its name `package.module:function`; and what is refused in its place."""

import importlib
import inspect
from pathlib import Path
from typing import Any

from trompe.core.errors import UserError

__all__ = ["call", "find", "is_spec", "refuse_pickles", "takes"]

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy")


def is_spec(text: str) -> bool:
    """Whether a text has the form `package.module:function`.

    >>> is_spec("mypackage.models:load"), is_spec("mnist"), is_spec("C:/photos")
    (True, False, False)
    """
    module, colon, name = text.partition(":")
    return bool(colon) and all(
        part.isidentifier() for part in (*module.split("."), *name.split("."))
    )


def find(spec: str) -> Any:
    """Import the module and return the function. Importing runs the user's code.

    Raises:
        UserError: the module cannot be imported, or has no such function.
    """
    module_name, _, path = spec.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"could not import {module_name} ({type(error).__name__}: {error}); "
            "run from the folder that holds it, or install it"
        ) from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise UserError(f"{module_name} has no function {path!r}; give module:function")
    return found


def call(spec: str, **arguments: Any) -> Any:
    """Call the function with those of the arguments that it takes by name.

    Raises:
        UserError: as `find`, or the function fails; the cause is chained.
    """
    function = find(spec)
    wanted = {name: value for name, value in arguments.items() if takes(function, name)}
    try:
        return function(**wanted)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{spec} raised {type(error).__name__}: {error}") from error


def takes(function: Any, name: str) -> bool:
    """Whether a function has a parameter of that name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def refuse_pickles(model: str | None = None, data: str | None = None) -> None:
    """Refuse what could run any code when it is opened, and bare weights, which say no architecture.

    Raises:
        UserError: with what to do instead.
    """
    if model is not None and not is_spec(model):
        kind = Path(model).suffix.lower()
        if kind == ".safetensors":
            raise UserError(
                f"{model} holds weights but no architecture; load it in a function of your own and "
                "give that: --model module:function"
            )
        if kind in _PICKLES:
            raise UserError(
                f"{model} is a pickle, which can run any code when it is opened; save the weights as "
                "safetensors, load them in a function of your own and give that: --model module:function"
            )
    if data is not None and not is_spec(data) and Path(data).suffix.lower() in _PICKLES:
        raise UserError(
            f"{data} is not read, since pickles can run any code when they are opened; write plain "
            "arrays with numpy.savez_compressed('data.npz', x=x, y=y)"
        )
