"""Videos of episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.checks import choose
from aloha_marl.evaluation import Episode, environment, play
from aloha_marl.files import atomic, check_writable
from aloha_marl.policies import Policy
from aloha_marl.recording.overlay import Overlay
from aloha_marl.tasks import Task

FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"every": 1, "size": {}},
    ".gif": {"every": 5, "size": {"visualization_width": 320, "visualization_height": 240}},
}
"""Suffix -> its pictures are every ``every``-th step, with these options of their ``size``."""


def record(
    task: str | Task,
    policies: Mapping[str, Policy],
    seed: int,
    path: str | Path,
    *,
    cameras: Sequence[str] = ("angle",),
    overlay: bool = False,
    **options: Any,
) -> Episode:
    """Plays one episode and writes it as a video in real time.

    Args:
        task: a task or its name.
        policies: agent -> policy.
        seed: seed of the reset.
        path: path of the video, ending in ``.mp4``, or in ``.gif`` for fewer and smaller pictures.
        cameras: names of cameras; several share each picture, see :func:`tile`.
        overlay: True to write step, stage and rewards onto the pictures.
        **options: options of the environment, among them the size of one camera's picture. The
            option ``cameras``, of pixel observations, can't be given.

    Raises:
        ValueError: another ending, or an unknown camera, option or value.
        RuntimeError: imageio or OpenGL is missing; the message says how to install it.
    """
    path = Path(path)
    form = FORMATS[choose("video format", path.suffix, FORMATS)]
    imageio = _imageio()
    if isinstance(cameras, str) or not cameras:
        raise ValueError(f"cameras={cameras!r} must be a non-empty sequence of names")
    env = environment(task, policies, **(form["size"] | options))
    env.pictures.check_cameras(cameras)
    check_writable(path)
    rate = env.metadata["render_fps"] / form["every"]
    bar: Overlay | None = None

    def keep() -> None:
        nonlocal bar
        if env.core.progress.elapsed[0] % form["every"] and env.agents:
            return
        picture = tile([env.picture(camera) for camera in cameras])
        if overlay:
            bar = bar or Overlay(env, picture.shape[1])
            bar.draw(picture)
        film.append_data(picture)

    with contextlib.closing(env), atomic(path) as aside:
        if path.suffix == ".gif":
            film = _Gif(aside, rate)
        else:
            film = imageio.get_writer(aside, fps=rate, macro_block_size=2)
        with contextlib.closing(film):
            return play(env, policies, seed, keep)


def tile(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """One picture made of several of the same size: up to three side by side, more in a square.

    They fill rows from the left; unused places at the end are black.
    """
    columns = len(pictures) if len(pictures) <= 3 else int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    height, width, channels = pictures[0].shape
    whole = np.zeros((rows, height, columns, width, channels), pictures[0].dtype)
    for i, picture in enumerate(pictures):
        whole[i // columns, :, i % columns] = picture
    return whole.reshape(rows * height, columns * width, channels)


class _Gif:
    """A GIF, written on close: imageio's own palette loses the colours of small objects."""

    def __init__(self, path: Path, rate: float):
        self._path, self._rate = path, rate
        self._pictures: list[Any] = []

    def append_data(self, picture: np.ndarray, /) -> None:
        from PIL import Image

        # The default palette follows the large areas and would turn a small red cube brown.
        palette = Image.Quantize.MAXCOVERAGE
        self._pictures.append(Image.fromarray(picture).quantize(method=palette))

    def close(self) -> None:
        if self._pictures:
            first, *rest = self._pictures
            duration = 1000 / self._rate
            first.save(self._path, save_all=True, append_images=rest, duration=duration, loop=0)


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
