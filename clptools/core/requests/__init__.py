"""What operators ask for: `router` finds who decides, one file a kind decides and waits.

A new request is a struct in `core/model/requests.py`, a method here, and a row in `router`.
"""
