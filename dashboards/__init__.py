"""What people look at: data, and no code. `muster` serves it."""
