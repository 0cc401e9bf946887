"""What a training puts in place while it runs, and takes away when it ends, however it ends."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["compiled", "postponed_interrupt", "training_mode"]


@contextmanager
def postponed_interrupt() -> Iterator[list[int]]:
    """Collect Ctrl-C instead of raising in the middle of an update; a second one raises."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def handler(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def training_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Training mode inside; afterwards every submodule is in the mode it was in."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for part, _ in modes:
        part.train()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def compiled(modules: Iterable[nn.Module], how: bool | str) -> Iterator[None]:
    """Compiled forward passes inside: of the modules and of their children.

    Children too, because an autoencoder's `encode` and `decode` bypass its own forward pass.
    """
    parts = [part for module in modules for part in (module, *module.children())] if how else []
    before = [part._compiled_call_impl for part in parts]
    for part in parts:
        part.compile(backend=how if isinstance(how, str) else "inductor")
    try:
        yield
    finally:
        for part, call in zip(parts, before, strict=True):
            part._compiled_call_impl = call
