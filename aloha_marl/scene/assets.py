"""Finds the MJCF files and reads a scene that lies anywhere."""

from __future__ import annotations

from pathlib import Path

import mujoco


def assets_directory() -> Path:
    """The folder of the MJCF files: in the wheel, or beside the package in a checkout.

    Raises:
        FileNotFoundError: neither place has them.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "assets", package.parent / "assets")
    for place in places:
        if (place / "arm.xml").is_file():
            return place
    raise FileNotFoundError(f"no MJCF assets in {' or '.join(map(str, places))}")


def read_scene(xml: Path) -> mujoco.MjSpec:
    """Reads a scene. Wherever it lies, it can include ``workcell.xml`` and attach ``arm.xml``."""
    assets = assets_directory()
    if xml.resolve().parent == assets:
        return mujoco.MjSpec.from_file(str(xml))
    files = {
        path.relative_to(assets).as_posix(): path.read_bytes()
        for path in assets.rglob("*")
        if path.is_file()
    }
    spec = mujoco.MjSpec.from_string(xml.read_text(), include=files, assets=files)
    spec.modelfiledir = str(xml.resolve().parent)  # the scene's own meshes and textures
    return spec
