"""The wrapper's side of a container: fork the keeper early, tell it later what to build."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.backend import early
from sandbox.backend.docker import keeper, orders
from sandbox.backend.docker.orders import Orders
from sandbox.backend.pipes import Channels
from sandbox.backend.running import Running


class Early(early.Early):
    """A keeper of containers; it loads the engine's SDK while we plan."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def keep(made: Channels, channel: int) -> None:
            keeper.run(keeper.Ends.of(made, channel), environ)

        super().__init__(keep)

    def start(self, told: Orders, trap: tuple[int, int]) -> Running:
        """Gives the orders and returns at once; the sandbox's end of `trap` is closed here."""
        return self.told(orders.spelt(told), trap[0])
