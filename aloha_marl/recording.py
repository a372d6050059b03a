"""Films an episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.evaluation import Episode, environment, play
from aloha_marl.options import choose
from aloha_marl.policies import Policy
from aloha_marl.tasks import Task

FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"every": 1, "size": {}},
    ".gif": {"every": 5, "size": {"visualization_width": 320, "visualization_height": 240}},
}
"""Suffix -> which pictures are kept (one in ``every``) and the options of their size."""


def record(
    task: str | Task,
    policies: Mapping[str, Policy],
    seed: int,
    path: str | Path,
    **options: Any,
) -> Episode:
    """Plays one episode and writes it as a video in real time.

    Args:
        task: a task or its name.
        policies: agent -> policy.
        seed: of the reset.
        path: ends in ``.mp4``, or in ``.gif`` for fewer and smaller pictures.
        **options: of the environment, the size of the pictures among them.

    Raises:
        ValueError: another ending, or an unknown option or value.
        RuntimeError: imageio or OpenGL is missing; the message says how to install it.
    """
    path = Path(path)
    form = FORMATS[choose("video format", path.suffix, FORMATS)]
    imageio = _imageio()
    options = form["size"] | options | {"render_mode": "rgb_array"}
    env = environment(task, policies, **options)
    frames: list[np.ndarray] = []
    count = 0

    def keep() -> None:
        nonlocal count
        if count % form["every"] == 0 or not env.agents:
            frame = env.render()
            assert frame is not None
            frames.append(frame)
        count += 1

    try:
        episode = play(env, policies, seed, keep)
    finally:
        env.close()
    rate = env.metadata["render_fps"] / form["every"]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        from PIL import Image

        # The default palette follows the large areas and would turn a small red cube brown.
        palette = Image.Quantize.MAXCOVERAGE
        first, *rest = (Image.fromarray(frame).quantize(method=palette) for frame in frames)
        first.save(path, save_all=True, append_images=rest, duration=1000 / rate, loop=0)
    else:
        imageio.mimwrite(path, frames, fps=rate, macro_block_size=2)
    return episode


def _imageio() -> Any:
    try:
        import imageio.v2
        import imageio_ffmpeg  # noqa: F401  (imageio itself looks for it late and says less)
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"no videos without {error.name}: pip install 'aloha_marl[cli]'"
        ) from error
    return imageio.v2
