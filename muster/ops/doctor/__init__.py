"""`muster doctor self`: what the service needs of its machine, looked at without changing anything.

Every check is two halves: looking, which may take its time and fail, and judging what was seen, which is pure. No check
leaves the machine but for what the service itself is told to reach: its database and its name servers.
"""
