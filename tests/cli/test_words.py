"""Help, versions, completion, and every slip of the finger."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from trompe import __version__
from trompe.cli import tree
from trompe.cli.spelling import _ADVICE, _OURS

ROOT = Path(__file__).resolve().parents[2]


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, in the repository's root."""
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["audit", "--help"], ["audit", "--epsilon", "1"]]
)
def test_neither_help_nor_a_slip_imports_torch(words: list[str]) -> None:
    program = (
        "import sys; from trompe.cli import main; code = main(sys.argv[1:]); "
        "print(*{'torch', 'numpy', 'scipy', 'pydantic'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    ran = python(program, *words)
    assert ran.stderr.splitlines()[-1] == ""
    assert ran.returncode == (2 if "--epsilon" in words else 0), ran.stderr


def test_help_names_every_verb_and_what_runs_code(run: Run) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    for word in (*tree._VERBS, "--completion", "module:function", "TROMPE_DATA", "130"):
        assert word in ran.out


@pytest.mark.parametrize("verb", ["audit", "doctor"])
def test_help_of_a_verb_says_that_functions_run_code(run: Run, verb: str) -> None:
    ran = run(verb, "--help")
    said = " ".join(ran.out.replace("│", " ").split())
    assert ran.code == 0
    assert said.count("runs your code") >= 2


@pytest.mark.parametrize("group", ["zoo", "data", "attack"])
def test_a_group_shows_its_verbs(run: Run, group: str) -> None:
    ran = run(group)
    assert ran.code == 2
    assert all(name in ran.out for name in tree._members(group, attacks=True))
    assert run(group, "--help").code == 0


def test_nothing_at_all_shows_the_help(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "audit" in ran.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"trompe {__version__}\n"


def test_python_dash_m() -> None:
    command = [sys.executable, "-m", "trompe", "--version"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == f"trompe {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_knows_the_options(run: Run, shell: str) -> None:
    ran = run("--completion", shell)
    assert ran.code == 0
    assert all(word in ran.out for word in ("audit", "fail-under", "deep-fool"))
    assert run(f"--completion={shell}").out == ran.out


def test_bash_completes_a_verb_and_an_option(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "completion.sh"
    script.write_text(run("--completion", "bash").out)
    program = (
        f"source {script}; f=$(complete -p trompe | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        "COMP_WORDS=(trompe audit --fail); COMP_CWORD=2; $f trompe --fail audit; echo ${COMPREPLY[@]}"
    )
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert "--fail-under" in ran.stdout, ran.stderr


def test_an_unknown_shell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert "expected one of bash, zsh, fish, got 'tcsh'" in run("--completion").sentence


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("audit --epsilon 0.1", "--epsilon: here it is --eps"),
        ("audit --epsilon=0.1", "--epsilon: here it is --eps"),
        ("attack pgd --alpha 0.1", "--alpha: here it is --step-size"),
        ("attack pgd --eps_step 0.1", "--eps_step: here it is --step-size"),
        ("attack pgd --max-iter 10", "--max-iter: here it is --steps"),
        ("attack pgd --num-steps 10", "--num-steps: here it is --steps"),
        ("attack pgd --nb-iter 10", "--nb-iter: here it is --steps"),
        ("attack pgd --iterations 10", "--iterations: here it is --steps"),
        ("attack cw --binary-search-steps 5", "--binary-search-steps: here it is --rounds"),
        ("attack cw --kappa 5", "--kappa: here it is --confidence"),
        ("attack pgd --early-stop", "--early-stop: that is the default; its opposite is --no-early-stop"),
        ("doctor --max-queries 10", "--max-queries: here it is --steps"),
        ("audit --batch_size 10", "--batch_size: batches are chosen to fit; there is nothing to set"),
        ("audit --attack-type pgd", "--attack-type: name the attack as a word, as in trompe attack pgd"),
        ("audit --output x", "--output: here it is --out"),
        ("audit --dataset mnist", "--dataset: here it is --data"),
        ("audit --data-dir x", "--data-dir: here it is --data-root"),
        ("audit --seeed 1", "--seeed: did you mean --seed?"),
        ("audit --zzz", "--zzz: trompe audit has no such option; trompe audit --help lists them"),
        ("audit -n 5", "-n: here it is --n"),
        ("audit --n x", "--n: expected a whole number, got 'x'"),
        ("audit --draws 2.5", "--draws: expected a whole number, got '2.5'"),
        ("audit --fail-under x", "--fail-under: expected a number, got 'x'"),
        ("audit --fail-under 50", "--fail-under: expected a share between 0 and 1"),
        ("audit --norm l2", "--norm: expected one of Linf, L2, L1, got 'l2'"),
        ("audit --eps abc", "--eps: expected positive radii such as 8/255"),
        ("audit --eps 8", "--eps 8: images lie in [0, 1]; write 8/255"),
        ("audit --budget soon", "--budget: expected a time such as 90s, 20m or 1h"),
        ("audit --eps", "--eps needs a value"),
        ("audit extra", "do not know what to do with extra"),
        ("audit --device cuda:99", "--device cuda:99: torch cannot compute there"),
        ("audit --device warp", "--device warp: torch cannot compute there"),
        ("doctor", "trompe doctor needs --model"),
        ("attack pgd --model x", "trompe attack pgd needs --eps"),
        ("attack pdg", "did you mean trompe attack pgd?"),
        ("attack eot", "eot is put around an attack, as in trompe attack pgd --eot 20"),
        ("attack --model x", "trompe attack has no '--model'"),
        ("data fetch", "give NAME"),
        ("compare a", "give B"),
        ("zoo train nothing", "unknown recipe 'nothing'"),
        ("zoo train mlp-0-4", "n must be a whole number of at least 1, got 0"),
        ("zoo train mlp-7-0", "there would be one message, and nothing to tell"),
        ("zoo card cnn-7-99", "k must be at most 12, got 99"),
        ("zoo lst", "did you mean trompe zoo list?"),
        ("train", "here it is trompe zoo train"),
        ("adit", "did you mean trompe audit?"),
        ("qqqq", "trompe has no 'qqqq'; it has audit, doctor"),
        ("--model x audit", "--model: a verb comes first"),
        ("data fetch cifar", "cannot fetch 'cifar'"),
        ("data fetch mnist --base-url ftp://x --data-root .", "base_url must begin with http"),
        ("audit --model nets.pt", "is a pickle, which can run any code"),
        ("audit --model nets.pth", "save the weights as safetensors"),
        ("audit --model nets.safetensors", "holds weights but no architecture"),
        ("audit --data photos.pkl", "numpy.savez_compressed"),
        ("audit --data photos.npy", "numpy.savez_compressed"),
        ("audit --model own:f", "say what data own:f is for"),
        ("audit --data cifar11", "unknown data set 'cifar11'"),
        ("audit --data mnsit", "did you mean 'mnist'?"),
        ("audit --data nothing.npz", "could not read nothing.npz"),
        ("audit --model nothing --data digits", "unknown model 'nothing'"),
        ("audit --model nothing:f --data digits", "could not import nothing"),
        ("audit --autoencoder digits-vae", "give both"),
        ("audit --n 0", "n must be at least 1"),
        ("audit --draws 0", "draws must be at least 1"),
        ("doctor --model digits-mlp --n 0", "--n must be at least 1"),
        ("doctor --model digits-mlp --steps 0", "--steps must be at least 1"),
        ("attack pgd --model digits-mlp --eps 0.1,0.2", "--eps takes one radius here"),
        ("attack pgd --model digits-mlp --eps 0.1 --pictures -1", "--pictures must be at least 0"),
        ("attack latent --model digits-vae", "give either --eps, a radius, or --penalty"),
        ("attack foolbox --model digits-mlp --name LinfPGD --options steps", "expected KEY=VALUE"),
        ("doctor --model mnist-mlp --data-root nowhere", "nowhere/mnist"),
        ("attack pgd --model mnist-mlp --eps 0.1 --data-root nowhere", "nowhere/mnist"),
        ("attack pgd --model mnist-mlp --eps 0.1 --device warp", "--device warp: torch cannot"),
        ("audit --data mnist --data-root nowhere", "nowhere/mnist"),
        ("compare here there", "cannot read the report here: no such file"),
    ],
)  # fmt: skip
def test_a_slip_is_answered_in_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, answer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*words.split())
    assert ran.code == 2
    assert answer in ran.sentence
    assert ran.out == ""
    assert not any(tmp_path.iterdir()), "something was written"


def test_every_foreign_name_leads_to_an_option_of_some_verb() -> None:
    commands = [
        command
        for verb in tree._VERBS
        for members in [tree._members(verb, attacks=True)]
        for command in (members.values() if isinstance(members, dict) else [members])
    ]
    known = {name.removeprefix("no-") for command in commands for name in tree.options(command)}
    assert set(_OURS) <= known | {"restarts"}
    assert not set(_ADVICE) & known, "advice against an option that is there"


@pytest.mark.parametrize(
    "name", ["PGD", "pgd", "DeepFool", "deepfool", "mi-fgsm", "latent", "auto_attack"]
)
def test_attacks_are_found_however_they_are_written(name: str) -> None:
    found = tree.find(["attack", name])
    assert found.command is not None
    assert (
        found.words[1].replace("-", "").startswith(name.lower().replace("-", "").replace("_", ""))
    )
