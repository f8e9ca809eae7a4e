"""Fixtures that every test may ask for. Add a module of `tests/support` here, never a fixture."""

pytest_plugins = [
    "tests.support.azurite",
    "tests.support.collecting",
    "tests.support.postgres",
    "tests.support.receiving",
    "tests.support.runtime",
    "tests.support.servers",
    "tests.support.loops",
    "tests.support.uplinking",
]
