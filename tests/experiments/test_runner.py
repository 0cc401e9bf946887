"""The runner: what it finds, writes, resumes and refuses. Nothing is attacked here."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trompe.core.errors import UserError
from trompe.evaluation.records import Record, read_records
from trompe.experiments import catalogue, listing, reproduce
from trompe.experiments import runner as runner_module
from trompe.experiments.catalogue import Entry
from trompe.experiments.store import Store, settings_hash

CELLS = ("one", "two", "three")


@dataclass(frozen=True)
class Config:
    """A toy item's settings."""

    n: int = 10
    seed: int = 7


class Toy:
    """An item that counts how often each cell is measured, and can be made to stop at one."""

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.stop_at = ""
        self.SCALES = {"smoke": Config(), "cpu": Config(100)}

    def run(self, config: Config, store: Store) -> Iterator[Record]:
        store.total = len(CELLS)
        for name in CELLS:
            yield from store.cell(name, lambda name=name: [self.measure(config, name)])  # type: ignore[misc]

    def measure(self, config: Config, name: str) -> Record:
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.measured.append(name)
        return Record.rate("success", config.n // 2, config.n, subject=name)

    def render(self, records: list[Record]) -> str:
        return "\n".join(f"- {record.subject}: {record.value}" for record in records)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    item = Toy()
    entry = SimpleNamespace(
        paper="toys", item="toy", title="A toy", name="toys/toy", load=lambda: item
    )
    monkeypatch.setattr(runner_module, "chosen", lambda target: [entry])
    monkeypatch.setattr(runner_module, "catalogue", lambda: (entry,))
    return item


def rerun(folder: Path, scale: str = "smoke", **options: Any) -> list[Path]:
    return reproduce("toys", scale, results_root=folder / "results", **options)


def test_every_record_says_how_to_make_it_again(toy: Toy, tmp_path: Path) -> None:
    path, page = rerun(tmp_path)
    records = read_records(path)
    assert path == tmp_path / "results" / "toys" / "toy.smoke.json"
    assert page == tmp_path / "docs" / "results" / "toys.md"
    assert [record.subject for record in records] == list(CELLS)
    for record in records:
        assert (record.paper, record.item, record.scale) == ("toys", "toy", "smoke")
        assert (record.seed, record.n, record.interval) == (7, 10, "Wilson 95%")
        assert record.config["n"] == 10
        assert record.config["hash"] == settings_hash(Config())
        assert record.versions["torch"]
        assert record.seconds >= 0
        assert record.created


def test_an_interrupted_run_goes_on_where_it_stopped(toy: Toy, tmp_path: Path) -> None:
    toy.stop_at = "three"
    with pytest.raises(KeyboardInterrupt):
        rerun(tmp_path)
    final = tmp_path / "results" / "toys" / "toy.smoke.json"
    assert not final.exists()
    toy.stop_at = ""
    rerun(tmp_path, resume=True)
    assert toy.measured == ["one", "two", "three"]
    assert [record.subject for record in read_records(final)] == list(CELLS)
    assert [file.name for file in final.parent.iterdir()] == [final.name]


def test_an_interrupted_run_leaves_earlier_results_whole(toy: Toy, tmp_path: Path) -> None:
    final, _ = rerun(tmp_path)
    before = final.read_bytes()
    toy.stop_at = "two"
    with pytest.raises(KeyboardInterrupt):
        rerun(tmp_path)
    assert final.read_bytes() == before


def test_without_resume_everything_is_measured_again(toy: Toy, tmp_path: Path) -> None:
    rerun(tmp_path)
    rerun(tmp_path)
    assert toy.measured == list(CELLS) * 2


def test_another_configuration_is_measured_again(toy: Toy, tmp_path: Path) -> None:
    rerun(tmp_path)
    toy.SCALES["smoke"] = Config(20)
    path, _ = rerun(tmp_path, resume=True)
    assert toy.measured == list(CELLS) * 2
    assert {record.n for record in read_records(path)} == {20}


def test_the_page_shows_the_largest_scale(toy: Toy, tmp_path: Path) -> None:
    rerun(tmp_path, "cpu")
    _, page = rerun(tmp_path, "smoke")
    text = page.read_text()
    assert "# Toys" in text
    assert "## A toy" in text
    assert "Scale `cpu`" in text
    assert "- one: 0.5" in text


def test_a_papers_summary_of_all_records_opens_its_page(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "## Of all\n\n{toy[0].config[n]} in each."
    monkeypatch.setattr(
        runner_module, "paper_summary", lambda paper: lambda found: told.format(**found)
    )
    rerun(tmp_path, "cpu")
    _, page = rerun(tmp_path, "smoke")
    assert "# Toys\n\n## Of all\n\n100 in each.\n\n## A toy" in page.read_text()
    monkeypatch.setattr(runner_module, "paper_summary", lambda paper: lambda found: "")
    _, page = rerun(tmp_path, "smoke")
    assert "# Toys\n\n## A toy" in page.read_text()


def test_progress_names_the_cells(toy: Toy, tmp_path: Path) -> None:
    told: list[tuple[int, int | None, str]] = []
    rerun(tmp_path, progress=lambda *args: told.append(args))
    assert told == [(0, 3, "one"), (1, 3, "two"), (2, 3, "three")]


def test_a_folder_that_is_a_file_is_one_sentence(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        rerun(tmp_path)


def test_a_damaged_file_of_records_is_named(toy: Toy, tmp_path: Path) -> None:
    path, _ = rerun(tmp_path)
    path.write_text(json.dumps({"schema": 1})[:-3])
    with pytest.raises(UserError, match=r"toy\.smoke\.json"):
        rerun(tmp_path, resume=True)


def test_unknown_names_are_answered_with_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="baselines/agreement"):
        reproduce("baselines/agrement", results_root=tmp_path)
    with pytest.raises(UserError, match="smoke, cpu, paper"):
        reproduce("baselines", "huge", results_root=tmp_path)


def test_an_item_without_its_data_does_not_hold_up_the_others(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(config: Config, store: Store) -> Iterator[Record]:
        raise UserError("svhn is not at hand")

    lacking = SimpleNamespace(
        SCALES=toy.SCALES, run=absent, unmeasured=lambda: "Not measured here: no data."
    )
    first = SimpleNamespace(
        paper="toys", item="a", title="Another", name="toys/a", load=lambda: lacking
    )
    (entry,) = runner_module.chosen(None)
    monkeypatch.setattr(runner_module, "chosen", lambda target: [first, entry])
    monkeypatch.setattr(runner_module, "catalogue", lambda: (first, entry))
    with pytest.raises(UserError, match="svhn is not at hand"):
        rerun(tmp_path)
    page = (tmp_path / "docs" / "results" / "toys.md").read_text()
    assert "## Another\n\nNot measured here: no data.\n\n## A toy" in page
    assert toy.measured == list(CELLS)


def test_a_scale_an_item_lacks_is_named(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it has smoke, cpu"):
        rerun(tmp_path, "paper")


def test_the_listing_has_a_title_for_every_item() -> None:
    assert (
        "baselines/agreement",
        "Our baseline attacks beside Foolbox's and ART's at equal budgets",
    ) in listing()
    assert all(title for _, title in listing())


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_every_item_is_complete(entry: Entry) -> None:
    module = entry.load()
    assert {"smoke", "cpu", "paper"} <= set(module.SCALES)
    assert all(isinstance(config, module.Config) for config in module.SCALES.values())
    assert len({settings_hash(config) for config in module.SCALES.values()}) == len(module.SCALES)
    assert isinstance(
        module.PUBLISHED, dict
    )  # empty where the original has curves or pictures alone
    assert callable(module.run)
    assert callable(module.render)


def test_listing_does_not_import_torch() -> None:
    program = "import sys; from trompe.experiments import listing; listing(); print('torch' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


def test_examples_go_to_the_folder_that_is_named(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="toys has no examples"):
        rerun(tmp_path, examples=tmp_path / "mine")
    assert toy.measured == []
    toy.examples = lambda config, folder: [folder / f"{config.n}.png"]  # type: ignore[attr-defined]
    assert tmp_path / "mine" / "toy" / "10.png" in rerun(tmp_path, examples=tmp_path / "mine")
    assert not any("png" in path.name for path in rerun(tmp_path))
