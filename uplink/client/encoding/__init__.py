"""From facts to bytes: only what the dictionary names, and the consent allows."""
