"""The tasks, by name. A new one is a module here and a line in ``TASKS``."""

from aloha_marl.tasks.base import SUCCESS, GymAlohaTask, ShapedTask, Task
from aloha_marl.tasks.insertion import Insertion
from aloha_marl.tasks.transfer_cube import TransferCube

TASKS: dict[str, type[Task]] = {
    "transfer_cube": TransferCube,
    "insertion": Insertion,
}

__all__ = ["SUCCESS", "TASKS", "GymAlohaTask", "Insertion", "ShapedTask", "Task", "TransferCube"]
