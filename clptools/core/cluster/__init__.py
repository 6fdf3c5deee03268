"""Who is there, and who decides: peers, heartbeats, BMC power, revisions, election, shared policy.

Rules of membership, of proof by BMCs and of votes belong here.
"""
