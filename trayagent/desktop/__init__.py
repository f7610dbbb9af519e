"""What the person sees: icon, menu, notifications, terminal, start at login."""
