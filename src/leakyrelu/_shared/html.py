"""Parts of pages in HTML that need no script."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["table"]


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose texts are escaped, with a heading per column and row; where it is wide, the keyboard scrolls it."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>\n'
        for first, *cells in rows
    )
    content = f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>"
    region = f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">'
    return f"{region}\n<table>\n{content}\n</table>\n</div>"
