"""The shell around the core: events in, decisions, effects out; the only room that knows all the others."""
