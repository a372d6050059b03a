"""What the learning libraries say of themselves is no error here."""

from __future__ import annotations

import pytest

OWN = (
    r"ignore::DeprecationWarning:torchrl(\..*)?",
    "ignore:.* inherits from WeightUpdaterBase is deprecated:DeprecationWarning",
    "ignore:MakeEvolvable will be deprecated:DeprecationWarning",
)
"""They use what is going to change in them."""


def pytest_configure(config: pytest.Config) -> None:
    """Adds them to the filters of the whole suite, for what is imported too."""
    for line in OWN:
        config.addinivalue_line("filterwarnings", line)
