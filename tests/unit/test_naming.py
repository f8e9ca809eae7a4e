"""Names are looked up in an index, which notices when the inventory has changed."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

from collector.cluster import Cluster
from collector.naming import Naming
from validator.model import Lifecycle

NAMESPACE = UUID("6d757374-6572-4000-8000-000000000000")


def cluster(name: str, *others: str) -> Cluster:
    return Cluster(uuid5(NAMESPACE, name), name, "static", "", None, {}, Lifecycle.ACTIVE, 0.0, others)


def fleet(*clusters: Cluster) -> dict[UUID, Cluster]:
    return {each.id: each for each in clusters}


def test_a_name_that_is_also_another_name_of_the_same_cluster_finds_it_once() -> None:
    a = cluster("a", "a", "b", "b")
    assert Naming(fleet(a)).find("a") == [a.id]
    assert Naming(fleet(a)).find("b") == [a.id]


def test_the_beginning_of_an_id_finds_all_that_begin_so() -> None:
    begin = "01234567-89ab-4000-8000-00000000000"
    both = [replace(cluster(end), id=UUID(begin + end)) for end in ("1", "2")]
    naming = Naming(fleet(cluster("x"), *both))
    assert naming.find("0123456") == [each.id for each in both]
    assert naming.find(begin + "2") == [both[1].id]
    assert naming.find("0123") == []


def test_a_cluster_that_is_called_like_the_id_of_another_is_found_first() -> None:
    a = cluster("a")
    b = cluster(str(a.id))
    assert Naming(fleet(a, b)).find(str(a.id)) == [b.id]


def test_it_is_not_of_another_mapping_nor_of_one_that_has_grown() -> None:
    clusters = fleet(cluster("a"))
    naming = Naming(clusters)
    assert naming.is_of(clusters)
    assert not naming.is_of(dict(clusters))
    clusters.update(fleet(cluster("b")))
    assert not naming.is_of(clusters)
