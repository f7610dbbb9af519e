"""The checks of `trayagent doctor`. Each check finds one kind of problem, and no check changes anything."""
