"""What is told: status, causes, the journal, the state that survives."""
