"""What could stop trayagent from working here: each check looks at one thing and changes nothing."""
