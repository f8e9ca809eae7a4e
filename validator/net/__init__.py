"""The wire: under the probes names, TCP, TLS and HTTP/1.1, each timed and bounded on its own.

Under servers of ours: the bounds on whoever connects to them.
"""
