"""Names that both sides have to agree on: resource attributes, metrics, headers, paths of our own."""

from __future__ import annotations

ORGANISATION = "uplink.org.id"
"""Resource attribute. Advisory: a receiver overwrites it with what the certificate says."""
INSTALLATION = "service.instance.id"
"""Resource attribute: the installation id; overwritten likewise."""
CONSENT = "uplink.consent.id"
"""Resource attribute: under which consent the data was gathered."""
DICTIONARY = "uplink.dictionary.version"
"""Resource attribute: what the fields mean."""

CLUSTER_UID = "k8s.cluster.uid"
"""Attribute of a data point or a resource: the UID of the namespace kube-system, as in OpenTelemetry's conventions."""
CLUSTER_ID = "muster.cluster.id"
"""Attribute likewise: the cluster as Muster numbers it. Present where the UID can't be read yet."""
CLUSTER_INFO = "uplink.cluster.info"
"""Gauge, always 1: a cluster and what it is, in attributes. On change, and daily."""
CLUSTER_HEALTH = "uplink.cluster.health"
"""Gauge, always 1: a cluster's health in the attribute `HEALTH`. A receiver keeps its changes."""
HEALTH = "health"
"""Attribute: one of the six words."""

BATCH_ID = "Idempotency-Key"
"""Header: the batch's UUID. Servers that don't know it ignore it."""

FORGET_PATH = "/v1/installation"
"""DELETE with the installation's certificate: everything that was received of it goes, and its certificates end."""
