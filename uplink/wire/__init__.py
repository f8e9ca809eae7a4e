"""What client and receiver have in common: codecs, bounds, and files that nobody else may read. No sockets."""
