"""Messages that interrupt the user: which problems are worth a message (pure), and how the desktop shows messages."""
