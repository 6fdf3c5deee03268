"""What two or more rooms share; nothing here knows of a cluster."""
