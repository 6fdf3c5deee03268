"""What the interface promises, tried as its users try it, on running agents."""
