"""The runner of every item: records into `results/`, pages out of them."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from trompe.core.errors import UserError
from trompe.experiments.catalogue import (
    Entry,
    catalogue,
    chosen,
    paper_summary,
    paper_title,
    paper_trait,
)
from trompe.experiments.store import Progress, Store

if TYPE_CHECKING:
    from trompe.evaluation.records import Record

__all__ = ["SCALES", "reproduce", "write_pages"]

SCALES = ("smoke", "cpu", "paper")


def reproduce(
    target: str | None = None,
    scale: str = "smoke",
    resume: bool = False,
    progress: Progress | None = None,
    results_root: Path | str = "results",
    pages_root: Path | str | None = None,
    examples: Path | str | None = None,
) -> list[Path]:
    """Measure a paper's tables and figures again, and write their records and its page.

    Records go to `results_root/<paper>/<item>.<scale>.json`; the page, made from all records there are of
    the paper, to `pages_root/<paper>.md`.

    Args:
        target: `"paper"`, `"paper/item"`, or None for everything.
        scale: `"smoke"` (seconds: it runs), `"cpu"` (one machine) or `"paper"` (as published).
        resume: take cells that are already recorded under the same configuration as they are.
        progress: called with (cells done, total or None, what is running).
        results_root: where records are kept.
        pages_root: where pages are written; by default `docs/results` beside `results_root`.
        examples: a folder for what no page shows, such as pictures of people, and pairs with questions for
            people; of the items that have any, `examples(config, folder) -> files`.

    Returns:
        The files written.

    Raises:
        UserError: no such target or scale, data that is not at hand, a folder that cannot be written, no
            item that has examples where they are asked for. Of several items the others are measured first,
            and their pages written.
    """
    if scale not in SCALES:
        raise UserError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    results = Path(results_root)
    pages = results.parent / "docs" / "results" if pages_root is None else Path(pages_root)
    entries = chosen(target)
    if examples is not None and not any(hasattr(entry.load(), "examples") for entry in entries):
        raise UserError(f"{target or 'no item'} has no examples to write beside its page")
    written: list[Path] = []
    failed: list[UserError] = []
    for entry in entries:
        try:
            written.append(_measured(entry, scale, resume, progress, results))
            written += [] if examples is None else _examples(entry, scale, Path(examples))
        except UserError as error:
            failed.append(error)
    if len(failed) < len(entries):
        written += write_pages({entry.paper for entry in entries}, results, pages)
    if failed:
        raise failed[0]
    return written


def _measured(
    entry: Entry, scale: str, resume: bool, progress: Progress | None, results: Path
) -> Path:
    """Run one item from the first cell to the last."""
    from trompe.core.execution import single_thread

    module = entry.load()
    if scale not in module.SCALES:
        have = ", ".join(module.SCALES)
        raise UserError(f"{entry.name} has no scale {scale!r}; it has {have}")
    config = module.SCALES[scale]
    path = results / entry.paper / f"{entry.item}.{scale}.json"
    store = Store(path, entry.paper, entry.item, scale, config, resume, progress)
    with single_thread() if paper_trait(entry.paper, "TINY") else nullcontext():
        for _ in module.run(config, store):
            pass
    return store.finish()


def _examples(entry: Entry, scale: str, folder: Path) -> list[Path]:
    """What the item has for a folder of the user's own, and for no page."""
    module = entry.load()
    write = getattr(module, "examples", None)
    found: list[Path] = [] if write is None else write(module.SCALES[scale], folder / entry.item)
    return found


def write_pages(papers: set[str], results: Path, pages: Path) -> list[Path]:
    """The page of each paper, from the records of the largest scale there is of each item.

    An item's `pictures(records) -> {file name: content}`, if it has any, go to `pictures/` beside the page;
    its `unmeasured() -> markdown`, if it has one, stands there while nothing is recorded. A paper's
    `summary({item: records}) -> markdown`, if its folder has one, opens the page.
    """
    from trompe.evaluation.records import replace_file

    written = []
    for paper in sorted(papers):
        found = [(e, *_recorded(e, results)) for e in catalogue() if e.paper == paper]
        parts = [_part(entry, scale, records, pages) for entry, scale, records in found]
        path = pages / f"{paper}.md"
        notice = f"<!-- Made from results/{paper}/ by `trompe reproduce {paper}`. Do not edit. -->"
        head = [notice, f"# {paper_title(paper)}"]
        if tell := paper_summary(paper):
            head.append(tell({entry.item: records for entry, _, records in found}))
        replace_file(path, "\n\n".join(filter(None, [*head, *parts])) + "\n")
        written.append(path)
    return written


def _recorded(entry: Entry, results: Path) -> "tuple[str, list[Record]]":
    """The largest scale that is recorded, and its records; none where nothing is."""
    from trompe.evaluation.records import read_records

    for scale in reversed(SCALES):
        path = results / entry.paper / f"{entry.item}.{scale}.json"
        if path.exists():
            return scale, read_records(path)
    return "", []


def _part(entry: Entry, scale: str, records: "list[Record]", pages: Path) -> str:
    """The item's part of the page, its pictures written beside; empty where there is nothing to say."""
    from trompe.evaluation.records import replace_file

    module = entry.load()
    if scale:
        command = f"trompe reproduce {entry.name} --scale {scale}"
        shown: str = module.render(records)
        draw = getattr(module, "pictures", None)
        for name, picture in (draw(records) if draw else {}).items():
            replace_file(pages / "pictures" / name, picture)
        note = f"Scale `{scale}`, {len(records)} records; made by `{command}`."
        return "\n\n".join([f"## {entry.title}", note, shown.strip()])
    explain = getattr(module, "unmeasured", None)
    return f"## {entry.title}\n\n{explain()}" if explain else ""
