"""The command ``aloha-marl``."""

from __future__ import annotations

import io
import logging
import os
import sys


def main() -> None:
    """Runs the command line; without its libraries it says how to install them."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # any name can be printed in any locale
    try:
        from aloha_marl.cli.app import app
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("rich", "typer"):
            raise
        sys.exit(f"aloha-marl needs {library}: pip install 'aloha_marl[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    logger = logging.getLogger("aloha_marl")
    logger.addHandler(logging.StreamHandler())  # stderr
    logger.setLevel(logging.INFO)
    if not sys.flags.safe_path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # module:attribute may be here, as with `python -m`
    app()
