"""The shell around the pure core: events in, decisions, effects out. Only this package imports all the others."""
