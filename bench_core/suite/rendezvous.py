"""How torchrun's agent meets itself: a rendezvous of one machine, without a network.

torchrun's own rendezvous serves a store over TCP from a thread of the agent, and the ranks are forked from the agent. A
rank that is forked while that thread answers an earlier one inherits the locks that the thread holds, and nobody
unlocks them. glibc holds one while it looks up the name of the earlier rank's address, and the new rank waits for it
forever in `getaddrinfo`. This agent has no server and no thread, and the ranks find each other through a file. It also
begins at once: torchrun's rendezvous waits for up to 0.3 s first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

BACKEND = "bench-core"
"""The name by which torchrun's API finds `OneMachine`."""


class OneMachine(RendezvousHandler):
    """The only agent of its run, with a store in its own memory."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        self._run_id = parameters.run_id

    def get_backend(self) -> str:
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        distributed: Any = torch.distributed  # mypy does not know its stores
        unused = RendezvousStoreInfo("localhost", 0)  # the ranks find it in their environment
        return RendezvousInfo(distributed.HashStore(), 0, 1, unused)

    def is_closed(self) -> bool:
        return False

    def set_closed(self) -> None:
        pass

    def num_nodes_waiting(self) -> int:
        return 0

    def get_run_id(self) -> str:
        return self._run_id

    def shutdown(self) -> bool:
        return True


rendezvous_handler_registry.register(BACKEND, OneMachine)
