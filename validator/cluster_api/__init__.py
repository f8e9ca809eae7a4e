"""Reading objects over a cluster's own API, on the wire of the probes: `docs/decisions/0010-reading-kubernetes.md`."""
