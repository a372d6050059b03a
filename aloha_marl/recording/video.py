"""Videos of episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.checks import choose
from aloha_marl.evaluation import Episode, environment, play
from aloha_marl.files import atomic, check_writable
from aloha_marl.policies import Policies
from aloha_marl.recording.overlay import Overlay
from aloha_marl.rendering.renderer import cameras_of_both
from aloha_marl.tasks import TaskLike

FORMATS: dict[str, dict[str, Any]] = {
    ".mp4": {"every": 1, "size": {}},
    ".webp": {"every": 2, "size": {}},
    ".gif": {"every": 5, "size": {"visualization_width": 320, "visualization_height": 240}},
}
"""Suffix -> its pictures are every ``every``-th step, with these options of their ``size``."""

_STAY = 1.0
"""Time for which the end of an episode is shown [s]."""


def record(
    task: TaskLike,
    policies: Policies,
    seed: int,
    path: str | Path,
    *,
    cameras: str | Sequence[str] = "front",
    overlay: bool = False,
    **options: Any,
) -> Episode:
    """Plays one episode and writes it as a video in real time, in "best" quality.

    The last picture stays for a second.

    Args:
        task: a task or its name.
        policies: agent -> policy, or one of both arms.
        seed: seed of the reset.
        path: path of the video, ending in ``.mp4``, in ``.webp`` for every second picture, or in ``.gif``
            for fewer and smaller ones.
        cameras: name or names of cameras, "wrist_wide" and "wrist" of both arms; several share each
            picture, see :func:`tile`.
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
    env = environment(task, policies, **(form["size"] | options))
    shown = cameras_of_both(env.pictures.checked_cameras(cameras))
    check_writable(path)
    rate = env.metadata["render_fps"] / form["every"]
    bar: Overlay | None = None
    picture = np.empty(0)

    def keep() -> None:
        nonlocal bar, picture
        if env.core.progress.elapsed[0] % form["every"] and env.agents:
            return
        picture = tile([env.pictures.draw(camera, quality="best") for camera in shown])
        if overlay:
            bar = bar or Overlay(env, picture.shape[1])
            bar.draw(picture)
        film.append_data(picture)

    with contextlib.closing(env), atomic(path) as aside:
        if path.suffix == ".mp4":
            film = imageio.get_writer(aside, fps=rate, macro_block_size=2)
        else:
            film = _Animation(aside, rate)
        with contextlib.closing(film):
            episode = play(env, policies, seed, keep)
            for _ in range(round(_STAY * rate)):
                film.append_data(picture)
            return episode


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


class _Animation:
    """A WebP or GIF, written on close."""

    def __init__(self, path: Path, rate: float):
        self._path = path
        self._options: dict[str, Any] = {"duration": 1000 / rate, "loop": 0, "quality": 90}
        self._pictures: list[Any] = []

    def append_data(self, picture: np.ndarray, /) -> None:
        from PIL import Image

        self._pictures.append(Image.fromarray(picture))

    def close(self) -> None:
        from PIL import Image

        if not self._pictures:
            return
        first, *rest = self._pictures
        if self._path.suffix == ".gif":
            # One palette for all: colours must not change from picture to picture. The default
            # method follows the large areas and would turn a small red cube brown.
            some = np.concatenate(self._pictures[:: max(1, len(self._pictures) // 8)])
            palette = Image.fromarray(some).quantize(method=Image.Quantize.MAXCOVERAGE)
            first, *rest = (picture.quantize(palette=palette) for picture in self._pictures)
        first.save(self._path, save_all=True, append_images=rest, **self._options)


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
