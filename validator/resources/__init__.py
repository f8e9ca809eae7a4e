"""What Velero and Stork in a cluster say of their backup locations, read over the cluster's own API.

Their resources may hold secrets (Stork writes keys into the resource itself). So a document is read by an allowlist of
fields, in `velero.py`, `stork.py` and `portworx.py` and nowhere else; no fact, log or error ever quotes another one.
"""
