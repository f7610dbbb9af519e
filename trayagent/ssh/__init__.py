"""What trayagent knows of OpenSSH: its configuration, its masters, its words when something fails."""
