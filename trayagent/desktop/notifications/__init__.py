"""Messages that interrupt the user: which problems are worth one (pure), and how the desktop shows them."""
