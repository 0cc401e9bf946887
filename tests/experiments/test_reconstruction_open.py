"""What the paper leaves open, on the embedded digits: every setting is attacked, boxed and judged."""

from pathlib import Path
from xml.etree import ElementTree

from trompe.evaluation.records import read_records
from trompe.experiments import reproduce
from trompe.experiments.reconstruction import open_questions
from trompe.experiments.reconstruction._attacked import Defended
from trompe.experiments.reconstruction.open_questions import BY, NETS, SCALES


def test_every_claim_is_judged_under_every_attack(tmp_path: Path) -> None:
    path, page = reproduce("reconstruction/open_questions", "smoke", results_root=tmp_path / "r")
    records, text = read_records(path), page.read_text()
    met = {(r.config["net"], r.config["by"]) for r in records if r.eps}
    assert met == {(net, by) for net in NETS for by in BY}
    assert text.count("of 6 settings") == 9
    (drawing,) = open_questions.pictures(records).values()
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


def test_what_has_no_radius_is_run_once_and_clipped_to_each_box() -> None:
    cell = open_questions._Open(SCALES["smoke"].setting, Defended("digits", "ae", 0.4))
    records = cell.records()
    assert len([a for a in cell._known if "DeepFool" in str(a)]) == 1
    left = [r.value for r in records if r.config["by"] == "DeepFool"]
    assert left[0] >= left[1]
    assert left[1] < 0.2
