"""The part of the agent that the user sees on the desktop: icon, menu, notifications, terminal, start at login."""
