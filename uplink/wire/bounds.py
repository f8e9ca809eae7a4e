"""Every bound that both sides keep, with where it comes from.

A bound that only one side knows is a batch that is refused for ever, so they are here and nowhere else.
"""

from __future__ import annotations

MAX_RAW_BYTES = 1024 * 1024
"""Of an OTLP request before compression. nginx's `client_max_body_size` is 1 MB by default, and what has been handed to
the kernel when telemetry is switched off can't be called back: a small body is a small remainder (G5, E6)."""

MAX_PACKED_BYTES = MAX_RAW_BYTES
"""Of the same as it travels: what does not compress grows by a few bytes, and is to be cut smaller by its sender."""

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Of any answer that the client reads: OTLP 1.x, "Protocol Details": the client must bound it, 4 MiB is named there."""

MAX_EST_BYTES = 64 * 1024
"""Of an EST answer: sixteen certificates of 4 KB, in base64."""

MAX_CERTIFICATES = 16
"""In one EST answer: a leaf, its chain, and the roots of a roll-over (RFC 7030 section 4.1.3) are seven."""

MAX_CSR_BYTES = 16 * 1024
"""Of a CSR in base64. One of P-256 has 600 bytes, of RSA 4096 with names 2.5 KB."""

MAX_LIFETIME_DAYS = 30
"""Of a client certificate: EST has no revocation, so an abandoned identity dies by itself (G7)."""

LIFETIME_DAYS = 7
"""The same, unless somebody chose otherwise."""

MAX_RETRY_AFTER_S = 24 * 3600.0
"""The longest that a server may make the other side wait; more is a broken clock or a joke."""

MIN_RETRY_AFTER_S = 1.0
"""The shortest: zero and negative values would make a loop."""

RETRY_AFTER_S = 60.0
"""Where a server gives none, or none that can be read (H11)."""

MAX_ORGANISATION_CHARS = 63
"""Of an organisation's id, as of a DNS label: below the 64 of `ub-organization-name` (RFC 5280, appendix A.1)."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of one line of an export: 1 MiB of protobuf as JSON, at its worst."""

MAX_EXPORT_BATCHES = 100_000
"""In one export file: two months of one a minute."""

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
"""Of its last line: 200 bytes a batch."""
