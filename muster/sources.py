"""From settings to sources: where this instance learns of clusters."""

from __future__ import annotations

import asyncio

from muster.settings import Settings
from validator.discovery.in_cluster import InClusterSource
from validator.discovery.kubeconfig import KubeconfigSource
from validator.discovery.source import Source
from validator.discovery.static import StaticSource

PLUGINS_AT_ONCE = 8
"""Exec plugins of all sources together: each is a process, some (cloud CLIs) with 100 MB."""


def make_sources(settings: Settings) -> list[Source]:
    """The configured sources, in the order in which they give a cluster its name and credential."""
    slots = asyncio.Semaphore(PLUGINS_AT_ONCE)
    sources: list[Source] = []
    if settings.kubeconfig_paths:
        contexts = settings.contexts or None
        sources.append(KubeconfigSource(paths=settings.kubeconfig_paths, contexts=contexts, plugin_slots=slots))
    for number, path in enumerate(settings.static):
        # The first keeps the plain name: a source's name is stored with its clusters.
        name = "static" if number == 0 else f"static:{path.name}"
        sources.append(StaticSource(path, name, plugin_slots=slots))
    if settings.in_cluster:
        sources.append(InClusterSource())
    return sources
