"""For the documentation: show the `>>>` examples of docstrings as code, wherever they stand."""

import griffe


def fenced(text: str) -> str:
    """Put each run of lines that starts with `>>>`, up to the next blank line, between fences.

    >>> fenced("Adds." + chr(10) * 2 + "> > > 1 + 1".replace(" ", "", 2)).splitlines()[2]
    '```pycon'
    """
    lines: list[str] = []
    inside = False
    for line in [*text.splitlines(), ""]:
        if not inside and line.startswith(">>> "):
            lines.append("```pycon")
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join(lines).rstrip()


class DoctestFences(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called by griffe once for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
