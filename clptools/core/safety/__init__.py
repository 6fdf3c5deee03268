"""What may run where: clearance, lease, watchdog, fencing."""
