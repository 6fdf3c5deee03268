"""Failover groups: which server runs each, and how it is started and stopped there.

The coordinator's side is `placement`, `grants` and `waits`; the holder's is `orders`, `lifecycle`
and what it uses (`runs`, `partial`, `purge`, `migration`); both ask `holders` and `selection`.
"""
