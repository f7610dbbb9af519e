"""Encode and decode AF_NETLINK: framing, and the rtnetlink and sock_diag messages that `net` and `ssh` read."""
