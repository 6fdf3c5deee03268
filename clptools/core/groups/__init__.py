"""Failover groups: what is wanted of them, where they run, how they start and stop."""
