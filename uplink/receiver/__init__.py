"""The receiving side: a CA that enrols by EST, and the ingest of OTLP."""
