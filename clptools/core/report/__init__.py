"""What is reported and kept: status, explanations, the journal, what survives the agent.

Nothing here is asked by a decision.
"""
