"""The command ``aloha-marl``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without its libraries it says how to install them."""
    try:
        from aloha_marl.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "typer"):
            raise
        sys.exit(f"aloha-marl needs {error.name}: pip install 'aloha_marl[cli]'")
    app()
