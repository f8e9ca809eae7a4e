"""The hub's half of the wire to the agents: who may report, what each is told to ask, and what becomes of reports."""
