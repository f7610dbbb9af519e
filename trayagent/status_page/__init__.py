"""The status page: one self-contained HTML file about the present and the last days; pure."""
