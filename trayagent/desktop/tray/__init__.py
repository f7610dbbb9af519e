"""The icon in the panel and its menu: what to show, and by which protocol."""
