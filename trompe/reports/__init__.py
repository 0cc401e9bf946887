"""Reports: a document of plain values, and its page, Markdown and JSON."""

from trompe.reports.codec import SCHEMA, from_json, to_json
from trompe.reports.compare import compare
from trompe.reports.document import (
    SEVERITIES,
    Block,
    Cell,
    Check,
    Constellation,
    Curve,
    Finding,
    Forest,
    Grid,
    Image,
    Metric,
    Report,
    Section,
    Series,
    Severity,
    Table,
    checks,
    now,
)
from trompe.reports.files import Written, read, write
from trompe.reports.images import magnified
from trompe.reports.page import html
from trompe.reports.pictures import pictures
from trompe.reports.radio import ErrorCurve, constellation, error_curves, stems
from trompe.reports.tables import markdown, markdown_table, metric, pivot, records_table
from trompe.reports.wording import measured

__all__ = [
    "SCHEMA",
    "SEVERITIES",
    "Block",
    "Cell",
    "Check",
    "Constellation",
    "Curve",
    "ErrorCurve",
    "Finding",
    "Forest",
    "Grid",
    "Image",
    "Metric",
    "Report",
    "Section",
    "Series",
    "Severity",
    "Table",
    "Written",
    "checks",
    "compare",
    "constellation",
    "error_curves",
    "from_json",
    "html",
    "magnified",
    "markdown",
    "markdown_table",
    "measured",
    "metric",
    "now",
    "pictures",
    "pivot",
    "read",
    "records_table",
    "stems",
    "to_json",
    "write",
]
