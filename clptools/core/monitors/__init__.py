"""Hardware events and what they lead to: recovery and final actions."""
