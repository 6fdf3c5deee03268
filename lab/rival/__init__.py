"""corosync and pacemaker in the same two machines, and the comparison with them."""
