"""What is known: inventory, recorder, fleet snapshot, metrics."""
