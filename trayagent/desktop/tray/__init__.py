"""The icon in the panel and its menu: what is to be seen, and the ways to show it."""
