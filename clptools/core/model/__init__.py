"""Values: what goes in and out of the core, and what it remembers."""
