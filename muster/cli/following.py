"""The stream of events through restarts of the service and broken lines: each event once, in order, none twice."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator

from muster.cli.client import Client
from muster.cli.errors import NotReachable, Refused, Silent
from muster.cli.sse import Event
from muster.cli.transport import Query

FIRST_S = 0.5
MOST_S = 30.0
"""Between two attempts: doubled each time, and from half to all of that by chance, so that a restarted service does
not get all its readers back at one moment."""

QUIET_S = 2.0
"""Without an event for so long, all that was missed is told: history comes from the database within that."""


class Follower:
    """One reader. It raises what the client raises until there has been a connection: then it tries again for ever.

    `Refused` is raised later too, where another attempt would be refused as well.
    """

    def __init__(
        self,
        client: Client,
        after: str | None,
        query: Query,
        say: Callable[[str], None],
        sleep: Callable[[float], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`query` is what to hear of; `say` takes sentences for people; `chance` is between 0 and 1."""
        self._client = client
        self._after = after
        self._query = query
        self._say = say
        self._sleep = sleep
        self._chance = chance

    def missed(self) -> Generator[Event]:
        """What has happened since `after`, up to the newest change that there is now."""
        newest = next((change.id for change in self._client.transitions(None, 1).transitions), 0)
        if self._after is not None and int(self._after) >= newest:
            return
        try:
            with self._client.events(self._after, self._query, QUIET_S) as events:
                for event in events:
                    if event.event == "hello":
                        self._tell_gap(event)
                    if event.event:
                        yield event
                    if event.event == "transition" and event.id.isdigit() and int(event.id) >= newest:
                        return
        except Silent:  # the newest one was filtered out
            return

    def follow(self) -> Generator[Event]:
        """For ever."""
        attempts, connected = 0, False
        while True:
            try:
                begun_after = self._after
                with self._client.events(begun_after, self._query) as events:
                    for event in events:
                        attempts, connected = 0, True
                        self._after = event.id or self._after
                        if event.event == "hello" and begun_after is not None:
                            self._tell_gap(event)
                        if event.event:
                            yield event
                why = f"{self._client.url} has ended the stream"
            except NotReachable as error:
                if not connected:
                    raise
                why = str(error)
            except Refused as refused:
                if not connected or self._is_final(refused):
                    raise
                why = refused.problem.detail
            pause_s = min(MOST_S, FIRST_S * 2**attempts) * (0.5 + self._chance() / 2)
            attempts = min(attempts + 1, 16)
            self._say(f"{why}. Connecting again in {pause_s:.1f} s.")
            self._sleep(pause_s)

    def _is_final(self, refused: Refused) -> bool:
        status = refused.problem.status
        return status < 500 and status != 429 and not (status == 401 and self._client.transport.takes_local_token)

    def _tell_gap(self, event: Event) -> None:
        """The service says in its first event whether it could go on where we were."""
        try:
            resumed = json.loads(event.data)["resumed"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # whoever reads the event itself says what is wrong with it
        if not resumed:
            self._say("Too much has happened since: some events are missing here. `muster history` has all of them.")
