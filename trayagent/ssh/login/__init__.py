"""Logins: the keys that ssh would use, whether they can work, and why a login failed."""
