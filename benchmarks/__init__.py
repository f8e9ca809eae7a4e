"""Side-by-side measurements. Each prints what it measures and a line of JSON last; none judges absolute time."""
