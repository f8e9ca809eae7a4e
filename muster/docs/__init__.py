"""What is generated of `docs/`. `pages.py` has the table of pages."""
