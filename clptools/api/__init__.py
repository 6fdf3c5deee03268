"""The agent's socket (varlink), and the messages between agents.

`client` is what commands import, so it and what it imports stay light.  A method of the socket is a
line in `methods`, its types in `messages` and `clptools.varlink`; a question to another agent is a
message with its reply in `messages`.
"""
