"""The entry: what was typed in, an exit code out."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from trompe import __version__
from trompe.core.errors import UserError

__all__ = ["main"]

SHELLS = ("bash", "zsh", "fish")
ABOUT = """Attack, defend and audit machine-learning models through the latent spaces of generative models.

examples:
  trompe audit
  trompe audit --model mypackage.models:load_vae --data photos.npz
  trompe audit --model mypackage.models:load_classifier --defense reconstruct --data mnist --eps 0.1,0.2
  trompe audit --comms mlp-7-4 --psr -10,-6,-2
  trompe doctor --model mypackage.models:load_defended --data mnist --eps 0.3
  trompe attack pgd --model mnist-conv4 --eps 0.1
  trompe compare before/ after/

module:function, as a model, data, a defense or a radio link, runs your own code.

exit codes:
  0    done
  1    a check failed, or an accuracy is below --fail-under
  2    a slip, told in one sentence
  130  Ctrl-C; what was measured until then is kept

environment:
  TROMPE_DATA   the folder of data sets
  TROMPE_CACHE  the folder of trained models

also:
  trompe --version
  trompe --completion bash   prints completion for bash (or zsh, fish): eval "$(trompe --completion bash)"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0: done. 1: a check failed or a threshold was missed. 2: the user's slip, told in one sentence on
    standard error. 130: Ctrl-C. An error of our own keeps its traceback.

    Args:
        argv: the words after `trompe`; those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    came: list[int] = []
    try:
        with _interruptible(came):
            code = _run(words)
            sys.stdout.flush()
        return 130 if came else code
    except UserError as error:
        return _told(str(error), 130 if came else 2)
    except KeyboardInterrupt:
        return _told("stopped", 130)
    except BrokenPipeError:
        _let_go_of_output()
        return 141
    except OSError as error:
        _let_go_of_output()
        where = f"{error.filename}: " if error.filename else ""
        return _told(f"{where}{(error.strerror or str(error)).lower()}", 2)


def _run(words: list[str]) -> int:
    from trompe.cli import parsing, tree

    try:
        if not words or words[0] in ("-h", "--help", "help"):
            parsing.reads(tree.everything(attacks=False), "trompe", ["--help"], ABOUT)
        if words[0] in ("-V", "--version", "version"):
            sys.stdout.write(f"trompe {__version__}\n")
            return 0
        if words[0].split("=")[0] in ("--completion", "completion"):
            return _completion([*words[0].split("=")[1:], *words[1:]])
        if words[0].startswith("-"):
            raise UserError(f"{words[0]}: a verb comes first, as in trompe audit {words[0]}")
        found = tree.find(words)
        if found.command is None:
            group = tree.everything(attacks=True, group=found.words[0])
            parsing.reads(group, found.program, ["--help"])
        return parsing.parse(found).run(shlex.join(["trompe", *words]))
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise
        asked = {"-h", "--help", "help"} & set(words)
        return 0 if asked else 2


def _completion(words: list[str]) -> int:
    """Print a script that completes verbs and options."""
    from trompe.cli import parsing, tree

    shell = words[0] if words else os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SHELLS:
        raise UserError(f"--completion: expected one of {', '.join(SHELLS)}, got {shell!r}")
    form = tree.everything(attacks=True)
    try:
        parsing.reads(form, "trompe", ["--tyro-print-completion", shell])
    except SystemExit:
        return 0
    return 0


@contextmanager
def _interruptible(came: list[int]) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, so that a verb can leave a partial result; the second stops at once.

    The signals are noted in `came`, so that a verb which ended well all the same is known to have been
    interrupted.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 2:
            os._exit(130)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _told(sentence: str, code: int) -> int:
    """One line on standard error, whatever the error's own line breaks."""
    with suppress(OSError):
        sys.stderr.write(f"trompe: {' '.join(sentence.split())}\n")
        sys.stderr.flush()
    return code


def _let_go_of_output() -> None:
    """Where nobody reads standard output, or it is full, what it still holds must not fail again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            stream = sys.stdout.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
