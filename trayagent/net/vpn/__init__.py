"""Detect whether a VPN is up."""
