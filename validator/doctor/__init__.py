"""Workload identity: which step is missing on a cluster, and the exact text that mends it."""
