"""Ways to see whether a VPN is up."""
