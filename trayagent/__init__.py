"""trayagent: ssh masters and their forwards are back the moment the network can carry them."""

__version__ = "0.1.0"
