"""Who is there: heartbeats, power, election, revisions."""
