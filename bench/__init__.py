"""How fast, measured beside the alternatives in the same run; figures are ratios, never promises in ms."""
