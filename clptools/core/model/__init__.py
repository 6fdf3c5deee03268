"""Values: no decision is taken here, and nothing of other rooms is imported.

What comes in and goes out is frozen (`settings`, `events`, `actions`, `messages`, `requests`,
`view`); what is remembered is not (`state` and the `*_state` files).  A new event or action is
described in `core/describe.py`; a new word that decides something is an enum in `words`.
"""
