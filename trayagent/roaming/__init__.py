"""Relays that keep an ssh connection open while the network under it changes: docs/roaming.md."""
