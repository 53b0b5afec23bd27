"""The command `leakyrelu`, also as `python -m leakyrelu`."""

import sys

from leakyrelu._shared.extras import needs


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        with needs("leakyrelu[cli]", "the command line"):
            import rich  # noqa: F401  # here, so that a missing library is not taken for an error of ours
            import typer  # noqa: F401
    except ImportError as error:
        print(f"leakyrelu: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    from leakyrelu.cli import app

    app()


if __name__ == "__main__":
    main()
