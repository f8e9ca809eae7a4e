"""The simulated fleet: clusters to try Muster on, good, bad and hostile, without having any."""
