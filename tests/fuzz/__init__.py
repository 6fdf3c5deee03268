"""Coverage-guided fuzzing of what reads bytes that others made: `python -m tests.fuzz`."""
