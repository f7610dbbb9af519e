"""The status page: one self-contained HTML file about the current state and the last days; pure."""
