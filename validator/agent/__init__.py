"""The agent's half of the wire to the hub: what it is told to ask, how it reports, and its targets.

No HTTP serving and no store: the same engine and probes as in the hub, with a reporting sink in place of the recorder.
"""
