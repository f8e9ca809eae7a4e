"""What client and receiver both speak: codecs and bounds, no sockets."""
