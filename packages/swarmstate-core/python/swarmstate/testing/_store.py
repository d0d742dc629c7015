"""The contract of a store, assembled from its chapters."""

from __future__ import annotations

from swarmstate.testing._concurrency import ConcurrencyContract
from swarmstate.testing._expiry import ExpiryContract
from swarmstate.testing._lifetime import LifetimeContract
from swarmstate.testing._names import NameContract
from swarmstate.testing._reading import ReadContract
from swarmstate.testing._values import ValueContract
from swarmstate.testing._writing import WriteContract

__all__ = ["StoreContract"]


class StoreContract(
    ReadContract,
    WriteContract,
    NameContract,
    ExpiryContract,
    ValueContract,
    ConcurrencyContract,
    LifetimeContract,
):
    """What every store must do, as a pytest class.

    Subclass it under a name that pytest collects and override `make_store`.
    Both planes are tested, sync and async, without any pytest plug-in.

    Attributes:
        persistent: A store reopened at the same path after closing finds its
            records.
        shared: Stores opened at the same path see each other's writes at once.
        manual_clock: `make_store` passes `self.clock` to the store, as its only
            source of time. Otherwise tests of expiry wait for the real clock,
            with a time to live of a quarter of a second.
    """
