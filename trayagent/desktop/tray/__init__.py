"""The icon in the panel and its menu: what to show, and the ways to show it."""
