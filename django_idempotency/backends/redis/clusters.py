"""Redis Cluster for django-redis, which has no client for it. Named in a cache's OPTIONS, as CONNECTION_FACTORY."""

from __future__ import annotations

from typing import Any

from django_redis.pool import ConnectionFactory  # type: ignore[import-untyped]
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]
    """
    Connects to the cluster that the node at LOCATION belongs to.

    OPTIONS may name others in CLUSTER_NODES, a list of (host, port), for when that one is away at the start. Whatever
    CONNECTION_POOL_KWARGS has goes to each node's connections.
    """

    def connect(self, url: str) -> Any:
        params = {**self.make_connection_params(url), **self.pool_cls_kwargs}
        del params["parser_class"]
        nodes = self.options.get("CLUSTER_NODES", ())
        others = [ClusterNode(host, port) for host, port in nodes]  # type: ignore[no-untyped-call]
        cluster = RedisCluster.from_url(startup_nodes=others, **params)
        if "retry" not in params:
            # It would try three times more, each with a look at all nodes. For its own start, past one that is away, it may.
            cluster.set_retry(Retry(NoBackoff(), 0))
        return cluster

    def disconnect(self, connection: Any) -> None:
        connection.disconnect_connection_pools()
