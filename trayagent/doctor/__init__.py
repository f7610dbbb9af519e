"""The checks of `trayagent doctor`: each finds one kind of obstacle, and none changes anything."""
