"""The command ``aloha-marl``."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Runs the command line; without its libraries it says how to install them."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any name can be printed in any locale
    try:
        from aloha_marl.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(f"aloha-marl needs {error.name}: pip install 'aloha_marl[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    app()
