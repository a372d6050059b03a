from enum import Enum
from typing import Any

class TaskClass:
    name: str
    config: dict[str, Any]

    def __init__(self, name: str, config: dict[str, Any] | None) -> None: ...

class Task(Enum):
    def get_task(self, config: dict[str, Any] | None = None) -> Any: ...

def __getattr__(name: str) -> Any: ...
