"""The laboratory of whole machines: servers with kernel, systemd and BMC, broken in earnest."""
