"""The one way out, and back."""
