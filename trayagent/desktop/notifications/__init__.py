"""Messages that interrupt: which are worth it (pure), and the desktop's way to show them."""
