"""Judges a master that may be stale, and carries out the verdict; pure."""
