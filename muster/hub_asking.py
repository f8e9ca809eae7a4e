"""What the hub itself asks about backup locations, put together: the looks, the pairs, its own identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import collector
from collector.inventory import Inventory
from collector.pairs import Pairs
from collector.recorder import Recorder
from collector.retiring import Retiring
from muster.direct import Direct
from muster.pair_probes import PairProbes, look_schedule
from muster.pairing import Pairing
from muster.references import References
from muster.settings import Settings
from store.pool import Database
from store.sql import load_queries
from validator.clock import Clock
from validator.engine import Engine, Sink
from validator.keeper import CredentialKeeper
from validator.net.dialer import Dialer


@dataclass(frozen=True, slots=True)
class HubAsking:
    """Of one leader. `looks` and `pairing` are to be run."""

    looks: Engine
    pairing: Pairing
    references: References


def make_hub_asking(
    db: Database,
    epoch: int,
    settings: Settings,
    clock: Clock,
    inventory: Inventory,
    pairs: Pairs,
    recorder: Recorder,
    *,
    pair_engine: Engine,
    sink: Sink,
    dialer: Dialer,
    keeper: CredentialKeeper,
    direct: Direct,
    has_agent: Callable[[UUID], bool],
) -> HubAsking:
    """All that is needed, for the leader of `epoch`."""
    queries = load_queries(Path(collector.__path__[0]) / "retiring.sql")
    looks = Engine(look_schedule(settings), sink, clock)
    probes = PairProbes(
        settings,
        direct,
        dialer=dialer,
        keeper=keeper,
        clock=clock,
        uses=pairs.of_cluster,
        states_of=lambda cluster_id: recorder.states.get(cluster_id, {}),
        has_agent=has_agent,
        hasten=looks.hasten,
    )
    pairing = Pairing(
        inventory,
        pairs,
        recorder,
        Retiring(db, queries, recorder, epoch),
        looks=looks,
        asks=pair_engine,
        make_look=probes.look,
        make_pair=probes.pair,
        may_ask_directly=probes.may_ask_directly,
        has_agent=has_agent,
    )
    references = References(db, queries, inventory, pairing.last_read, dialer=dialer, keeper=keeper, clock=clock)
    return HubAsking(looks, pairing, references)
