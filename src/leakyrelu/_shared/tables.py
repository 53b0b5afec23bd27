"""Tables as text."""

from io import StringIO

__all__ = ["text_table"]


def text_table(headings: list[str], rows: list[list[str]]) -> str:
    """The table as Markdown. If rich is installed, columns are aligned, the first two to the left."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))
    table = Table(box=box.MARKDOWN)
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if i < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=StringIO(), width=10_000, color_system=None, force_jupyter=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip())
