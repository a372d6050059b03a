"""From a task's MJCF to a model: assets, sensors, contacts, looks, randomisation."""

from aloha_marl.scene.assets import assets_directory
from aloha_marl.scene.contacts import SceneSpec
from aloha_marl.scene.model import load_model

__all__ = ["SceneSpec", "assets_directory", "load_model"]
