"""The handlers of events, one module for each subject; pure."""
