"""The service: settings, composition roots, CLI, HTTP API."""
