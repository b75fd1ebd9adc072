"""A network in a box: simulated hosts and links, and a clock that jumps.

::

    from aioudp import testing

    async def main():
        net = testing.SimulatedNetwork(seed=1, loss=0.2, delay=0.05)
        async with net.bind(("10.0.0.1", 9999)) as server:
            ...

    testing.run(main())
"""

from __future__ import annotations

from .clock import DeadlockError, VirtualClockLoop, new_event_loop, run
from .draws import Distribution
from .explore import Failure, explore
from .faults import Deliver, Drop, FaultOptions, GilbertElliott, Pass, Rule
from .flight import Fate, Flight
from .history import History
from .host import Host
from .lane import Happening
from .lifting import Lifting
from .nat import NatKind
from .network import PrivateNetwork, SimulatedNetwork
from .relay import LossyRelay

__all__ = [
    "DeadlockError",
    "Deliver",
    "Distribution",
    "Drop",
    "Failure",
    "Fate",
    "FaultOptions",
    "Flight",
    "GilbertElliott",
    "Happening",
    "History",
    "Host",
    "Lifting",
    "LossyRelay",
    "NatKind",
    "Pass",
    "PrivateNetwork",
    "Rule",
    "SimulatedNetwork",
    "VirtualClockLoop",
    "explore",
    "new_event_loop",
    "run",
]
