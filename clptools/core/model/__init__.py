"""Values. Nothing is decided here, and nothing is imported from other rooms.

What goes in or out is frozen (`settings`, `events`, `actions`, `messages`, `requests`, `view`);
what is remembered is not (`state` and the `*_state` files). A new event or action gets its text in
`core/describe.py`. A new word that decides something is an enum in `words`.
"""
