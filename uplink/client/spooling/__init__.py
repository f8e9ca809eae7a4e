"""What waits, is sent, and is silenced."""
