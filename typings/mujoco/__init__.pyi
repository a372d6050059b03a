# MuJoCo's members come from compiled modules without stubs: without this, a type checker that reads
# the package's Python files alone reports every one of them as missing.
from typing import Any

def __getattr__(name: str) -> Any: ...
