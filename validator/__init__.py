"""What is asked: targets, discovery, probes, schedule, verdicts, health. Runs unchanged inside a tenant cluster."""
