"""Monitors: open hardware events, status, recovery, final actions.

A new class of events belongs in `status`, a new step of recovery in `recovery`.
"""
