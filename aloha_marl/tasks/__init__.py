"""The tasks, by name. A new one is a module here and a line in ``library.TASKS``."""

from aloha_marl.tasks.base import SUCCESS, GymAlohaTask, ShapedTask, Task
from aloha_marl.tasks.insertion import Insertion
from aloha_marl.tasks.library import TASKS, TaskLike, make_task, task_names
from aloha_marl.tasks.transfer_cube import TransferCube

__all__ = [
    "SUCCESS",
    "TASKS",
    "GymAlohaTask",
    "Insertion",
    "ShapedTask",
    "Task",
    "TaskLike",
    "TransferCube",
    "make_task",
    "task_names",
]
