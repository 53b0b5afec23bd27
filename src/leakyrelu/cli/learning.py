"""The page to play with."""

from typing import Annotated

import typer

from leakyrelu.cli.output import errors_in_one_line

commands = typer.Typer()


@commands.command(epilog="Examples: `leakyrelu learn`, `leakyrelu learn --no-browser --port 8000`")
def learn(
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Learn Leaky ReLU by playing with it, on a page in the browser that only this machine can open."""
    import webbrowser

    from leakyrelu.lesson import serve_lesson

    with errors_in_one_line():
        serve_lesson(port=port, open_browser=webbrowser.open if browser else None, say=typer.echo)
