"""What the user sees: icon, menu, notifications, terminal, start at login."""
