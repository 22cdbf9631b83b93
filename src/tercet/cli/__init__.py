"""The command line: words in, calls of the library out. Nothing is decided here that the library does not decide."""

from tercet.cli.main import app

__all__ = ["app"]
