"""What an arm may know: the observed quantities, their order, units and bounds.

One table, :func:`quantities`, names everything. Each scope is a prefix of it; ``full`` is an arm's own
quantities followed by its partner's. The same table gives the columns, the spaces, the documented
tables and the names by which policies read an observation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from gymnasium import spaces

from aloha_marl.arms import FINGERS, JOINTS
from aloha_marl.simulation.readings import Readings

SCOPES = ("partner", "local", "proprioception", "full")
"""What one arm may know; the first is the default."""

WIDENING = ("proprioception", "local", "partner", "full")
"""The scopes, each a prefix of the next."""

_XYZ = ("x", "y", "z")


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A named group of observed numbers.

    Attributes:
        name: by which policies read it, such as ``tcp_pos``.
        parts: a name per number.
        unit: of each number.
        low, high: bounds; measured values are clipped to them.
        frame: the frame they are expressed in, if any.
        scope: the narrowest scope that holds it.
    """

    name: str
    parts: tuple[str, ...]
    unit: str
    low: float
    high: float
    frame: str
    scope: str


def quantities(objects: Sequence[str]) -> list[Quantity]:
    """An arm's own quantities, in the order they are observed; the narrowest scope first."""
    own, tool = "own base", "own tool"
    scope = "proprioception"
    table = [
        Quantity("joint_pos", JOINTS, "rad", -4, 4, "", scope),
        Quantity("joint_vel", JOINTS, "rad/s", -50, 50, "", scope),
        *_pose("tcp", own, scope),
        Quantity("gripper", ("opening",), "0 closed .. 1 open", -1, 2, "", scope),
        Quantity("gripper_vel", ("opening",), "1/s", -50, 50, "", scope),
        Quantity("command_gap", JOINTS, "rad", -8, 8, "", scope),
    ]
    scope = "local"
    for name in objects:
        table += [
            *_pose(name, own, scope),
            Quantity(f"{name}_linvel", _XYZ, "m/s", -10, 10, own, scope),
            Quantity(f"{name}_angvel", _XYZ, "rad/s", -50, 50, own, scope),
            Quantity(f"{name}_in_tool", _XYZ, "m", -3, 3, tool, scope),
        ]
    table += [Quantity(f"{name}_touch", FINGERS, "0 or 1", 0, 1, "", scope) for name in objects]
    scope = "partner"
    return [
        *table,
        *_pose("partner_tcp", own, scope),
        Quantity("partner_gripper", ("opening",), "0 closed .. 1 open", -1, 2, "", scope),
    ]


def _pose(name: str, frame: str, scope: str) -> list[Quantity]:
    """A position and two axes: rotations without the double cover of quaternions."""
    return [
        Quantity(f"{name}_pos", _XYZ, "m", -3, 3, frame, scope),
        Quantity(f"{name}_x_axis", _XYZ, "", -1, 1, frame, scope),
        Quantity(f"{name}_z_axis", _XYZ, "", -1, 1, frame, scope),
    ]


class Layout:
    """Where each quantity stands in an observation of one scope.

    ``layout["tcp_pos"]`` is the slice of that quantity; iterating gives the quantities in order.
    """

    def __init__(self, objects: Sequence[str], scope: str):
        own = quantities(objects)
        known = WIDENING.index(scope)
        table = [q for q in own if WIDENING.index(q.scope) <= known]
        if scope == "full":
            table += [dataclasses.replace(q, name=f"partner/{q.name}") for q in own]
        self.scope = scope
        self.quantities = tuple(table)
        self._slices: dict[str, slice] = {}
        end = 0
        for quantity in table:
            start, end = end, end + len(quantity.parts)
            self._slices[quantity.name] = slice(start, end)
        self.size = end

    def __iter__(self) -> Iterator[Quantity]:
        return iter(self.quantities)

    def __getitem__(self, name: str) -> slice:
        try:
            return self._slices[name]
        except KeyError:
            raise KeyError(
                f"scope {self.scope!r} has no {name!r}; it has {', '.join(self._slices)}"
            ) from None

    def space(self) -> spaces.Box:
        """The Box of one arm's observation."""
        sizes = [len(q.parts) for q in self.quantities]
        low = np.repeat([q.low for q in self.quantities], sizes).astype(np.float32)
        high = np.repeat([q.high for q in self.quantities], sizes).astype(np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    def rows(self) -> list[tuple[int, str, str, str, str, str]]:
        """The table of the observation: index, name, unit, low, high, frame."""
        rows = []
        for quantity in self.quantities:
            start = self._slices[quantity.name].start
            for i, part in enumerate(quantity.parts):
                rows.append(
                    (
                        start + i,
                        f"{quantity.name}.{part}",
                        quantity.unit,
                        f"{quantity.low:g}",
                        f"{quantity.high:g}",
                        quantity.frame,
                    )
                )
        return rows


class Observer:
    """Turns the current readings into observations of one scope and into the central state."""

    def __init__(self, readings: Readings, scope: str):
        self.layout = Layout(readings.names, scope)
        self.state_layout = Layout(readings.names, "full")
        own = Layout(readings.names, "partner").space()
        # The arm comes first, so that each arm's observations of all simulations lie together.
        self._shape = (2, len(readings.gripper), own.shape[0])
        self._low, self._high = (
            np.broadcast_to(bound, self._shape).copy() for bound in (own.low, own.high)
        )
        self._readings = readings

    def observations(self) -> np.ndarray:
        """(2, n, D) float32, the observations of each arm; a fresh array."""
        own = self._own()
        if self.layout.scope == "full":
            return np.concatenate((own, own[::-1]), axis=2)
        return own[:, :, : self.layout.size]

    def state(self) -> np.ndarray:
        """(n, S) float32: both arms' own quantities, the left arm's first; a fresh array."""
        return np.concatenate(self._own(), axis=1)

    def _own(self) -> np.ndarray:
        """(2, n, V) every own quantity of each arm, in the order of :func:`quantities`."""
        readings = self._readings
        touch = readings.finger_touch
        own = np.empty(self._shape, np.float32)
        np.concatenate(
            (
                readings.own_motion,
                readings.opening,
                readings.command_gap,
                readings.objects,
                touch.reshape(len(touch), 2, -1),
                readings.partner_tcp,
                readings.gripper[:, ::-1],
            ),
            axis=2,
            out=own.swapaxes(0, 1),
            casting="unsafe",  # float64 to float32
        )
        np.maximum(own, self._low, out=own)
        return np.minimum(own, self._high, out=own)
