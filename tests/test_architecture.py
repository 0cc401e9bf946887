"""The rules of the layout, read from the source.

`docs/architecture.md` says why. Each rule reports every place that breaks it, not the first.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "trompe"

# A module imports strictly lower rows only; what stands in one row never imports its neighbours.
ROWS = (
    {"core"},
    {"data", "models", "attacks", "defenses", "metrics", "training"},
    {"evaluation", "zoo"},
    {"reports", "study"},
    {"experiments", "audit"},
    {"cli"},
    {"__main__"},
)
ROW = {name: number for number, names in enumerate(ROWS) for name in names}

# Slow to import or not always installed: imported inside the functions that need them.
LAZY = {
    "art", "diffusers", "foolbox", "lightning", "lightning_fabric", "matplotlib", "pyautoattack",
    "pythae", "scipy.stats", "sklearn", "tensorboard", "torch.utils.tensorboard",
}  # fmt: skip
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
GLOBAL_DRAWS = {
    "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
    "bernoulli", "multinomial", "bernoulli_", "exponential_", "normal_", "random_", "uniform_",
}  # fmt: skip
DISTRIBUTIONS = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "lightning-fabric": "lightning_fabric",
    "pyyaml": "yaml",
}
DISTRIBUTIONS |= {"adversarial-robustness-toolbox": "art"}


@cache
def sources() -> dict[Path, ast.Module]:
    """Every module of the package, parsed."""
    return {
        path: ast.parse(path.read_text("utf-8"), str(path))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the repository; without git (an unpacked archive), the package and the tests."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode == 0 and listing.stdout:
        files = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        files = [
            path for folder in ("trompe", "tests", "docs") for path in (ROOT / folder).rglob("*")
        ]
    return tuple(path for path in files if path.is_file())


def where(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(ROOT)}{line}"


def row_name(path: Path) -> str:
    """`core` for `trompe/core/search.py`, `zoo` for `trompe/zoo.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, node: ast.AST) -> list[str]:
    """The dotted names that an import statement names, relative ones made absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        here = ["trompe", *path.relative_to(PACKAGE).parent.parts]
        base = ".".join([*here[: len(here) - node.level + 1], *([base] if base else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when a module is imported: nothing inside functions or for the type checker."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        yield node
        pending.extend(ast.iter_child_nodes(node))


def is_within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with its function as written: `torch.randn`, `np.load`, `x.normal_`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_every_module_has_a_row() -> None:
    unknown = {row_name(path) for path in sources()} - set(ROW) - {"__init__"}
    assert not unknown, f"no row in the layout for {sorted(unknown)}"


def test_imports_point_down() -> None:
    wrong = []
    for path, tree in sources().items():
        own = row_name(path)
        for node in ast.walk(tree):
            for name in imported(path, node):
                parts = name.split(".")
                if parts[0] != "trompe" or len(parts) < 2 or parts[1] not in ROW or parts[1] == own:
                    continue
                if own == "__init__" or ROW[parts[1]] >= ROW[own]:
                    wrong.append(f"{where(path, node)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_slow_and_optional_libraries_are_imported_where_they_are_used() -> None:
    wrong = [
        f"{where(path, node)} imports {name}"
        for path, tree in sources().items()
        for node in at_import(tree)
        for name in imported(path, node)
        if is_within(name, LAZY)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_library_is_declared() -> None:
    """Whatever the package imports, its metadata names, in the dependencies or in an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    core = {declared(line) for line in project["dependencies"]}
    optional = {declared(line) for name in ("all", "track", "hf", "peers") for line in extras[name]}
    outside = {"pythae"}  # adapters for what cannot share our environment
    wrong = []
    for path, tree in sources().items():
        needed = set(map(id, at_import(tree)))
        for node in ast.walk(tree):
            for name in imported(path, node):
                top = name.split(".")[0]
                allowed = core if id(node) in needed else core | optional | outside
                if top not in sys.stdlib_module_names | {"trompe"} and top not in allowed:
                    wrong.append(f"{where(path, node)} imports {top}")
    assert not wrong, "\n".join(wrong)


def declared(requirement: str) -> str:
    """The module that a requirement installs."""
    name = re.split(r"[\[<>=~! ]", requirement, maxsplit=1)[0].lower()
    return DISTRIBUTIONS.get(name, name.replace("-", "_"))


def test_the_command_line_starts_without_torch() -> None:
    program = "import sys, trompe.cli; print(*{'torch', 'scipy', 'sklearn'} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout.split(), f"`import trompe.cli` imports {ran.stdout}"


def test_no_drawer_for_odds_and_ends() -> None:
    wrong = [
        where(path)
        for path in tracked()
        if path.stem in {"util", "utils", "helpers", "misc", "common"}
    ]
    assert not wrong, f"name the idea instead: {wrong}"


def test_public_names_are_listed() -> None:
    wrong = []
    for path, tree in sources().items():
        if path.name == "__main__.py" or (path.name == "__init__.py" and is_bare(tree)):
            continue
        listed = public(tree)
        if listed is None:
            wrong.append(f"{where(path)}: no __all__")
        elif missing := set(listed) - defined(tree):
            wrong.append(f"{where(path)}: __all__ names {sorted(missing)}, defined nowhere in it")
    assert not wrong, "\n".join(wrong)


def is_bare(tree: ast.Module) -> bool:
    """Nothing but a docstring."""
    return all(isinstance(node, ast.Expr) for node in tree.body)


def public(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None where a module has none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def defined(tree: ast.Module) -> set[str]:
    """The names a module binds; a lazy `__getattr__` may bind any that the module mentions."""
    names: set[str] = set()
    for node in at_import(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.TypeAlias if sys.version_info >= (3, 12) else ()):
            names.add(node.name.id)
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    names |= {node.name for node in functions}
    if any(node.name == "__getattr__" for node in functions):
        names |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return names


def test_sizes() -> None:
    wrong = []
    for path, tree in sources().items():
        if (lines := len(path.read_text("utf-8").splitlines())) > 400:
            wrong.append(f"{where(path)}: {lines} lines, over 400")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    wrong.append(f"{where(path, node)} {node.name}: {length} lines, over 60")
    assert not wrong, "\n".join(wrong)


def test_nothing_loads_pickles() -> None:
    wrong = []
    for path, tree in sources().items():
        for node in ast.walk(tree):
            wrong += [
                f"{where(path, node)} imports {name}"
                for name in imported(path, node)
                if is_within(name, PICKLES)
            ]
        for call, name in calls(tree):
            options = {word.arg: ast.unparse(word.value) for word in call.keywords}
            if (
                name in {"torch.load", "torch.save"}
                or options.get("allow_pickle", "False") != "False"
            ):
                wrong.append(f"{where(path, call)} calls {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_draws_from_the_global_generator() -> None:
    wrong = [
        f"{where(path, call)} calls {name}"
        for path, tree in sources().items()
        for call, name in calls(tree)
        if (name.startswith("torch.") or name.endswith("_"))
        and name.rpartition(".")[2] in GLOBAL_DRAWS
        and not any(word.arg == "generator" for word in call.keywords)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_stubbed() -> None:
    wrong = [
        where(path, node)
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and "NotImplementedError" in ast.unparse(node.exc)
    ]
    assert not wrong, f"NotImplementedError is raised in {wrong}"


MACHINE = re.compile(
    "|".join([
        r"(?<![\w.])/(?:" + "|".join(["work", "farm", "root", "opt", r"(?:home|Users)/\w+"]) + ")/",
        "file:/" + "//",
        r"(?:extra-)?index-" + r"url[ =]+(?!https://download\.pytorch\.org|URL\b)",
        "find-" + "links",
        r"https?://(?:localhost|[\w.-]+\.(?:internal|local|lan))\b",
    ])
)  # fmt: skip


def test_no_file_names_a_machine() -> None:
    """No path of one machine, no package index of its own, in anything the repository holds."""
    wrong = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [
            f"{where(path)}:{n}: {line.strip()[:80]}"
            for n, line in enumerate(text.splitlines(), 1)
            if MACHINE.search(line)
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "path",
    [
        "a /" + "home/someone/data",
        "see " + "/" + "work/x",
        "--index-" + "url https://mirror.example",
    ],
)
def test_the_rule_about_machines_sees_one(path: str) -> None:
    assert MACHINE.search(path)


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(
        rf"^version: {re.escape(version)}$", (ROOT / "CITATION.cff").read_text("utf-8"), re.M
    )
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_pinned_versions_are_plain() -> None:
    """A constraint is `name==version` and nothing more: no build tag, no address."""
    for file in ("constraints.txt", "constraints-peers.txt"):
        lines = [
            line
            for line in (ROOT / file).read_text("utf-8").splitlines()
            if line and not line.startswith("#")
        ]
        wrong = [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
        assert not wrong, f"{file}: {wrong}"
        assert len({line.split("==")[0].lower() for line in lines}) == len(lines), (
            f"{file} names one twice"
        )
