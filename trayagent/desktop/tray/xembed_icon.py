"""The icon in a tray that knows only XEmbed, as a separate program, by pystray's X back end.

The program reads looks as lines of JSON. It waits for a tray, and if the tray ends, for the next tray. It writes SHOWN
when a tray shows the icon, GONE when no tray shows it any more, and CLICKED for a left click. There is no menu, because
the protocol has none. The program ends at the end of its input.

Sources: the System Tray Protocol Specification and the XEmbed Protocol Specification of freedesktop.org.
"""

from __future__ import annotations

import os
import select
import sys

from Xlib import X, error
from Xlib.display import Display

from trayagent.desktop.tray.look_lines import LineReader, decoded


def tray_or_end(fed_by: int) -> bool:
    """Wait until an X client owns the tray of the default screen. Return False if the input ends first.

    The program imports pystray and Pillow only after that, because it may wait for long on a display without a tray.
    Raises DisplayError, ConnectionClosedError.
    """
    screen = Display()
    screen.screen().root.change_attributes(event_mask=X.StructureNotifyMask)  # to notice a new tray
    tray = screen.intern_atom(f"_NET_SYSTEM_TRAY_S{screen.get_default_screen()}")
    poll = select.poll()
    poll.register(screen.fileno(), select.POLLIN)
    poll.register(fed_by, 0)  # wake up only at the end of the input
    try:
        while screen.get_selection_owner(tray) == X.NONE:
            while not screen.pending_events():
                if any(fd == fed_by for fd, _ in poll.poll()):
                    return False
            screen.next_event()
        return True
    finally:
        screen.close()


def main() -> int:
    """Run the icon on the display of the environment until the input ends."""
    source = LineReader(sys.stdin.fileno())
    try:
        if not tray_or_end(source.fd):
            return 0
    except (error.DisplayError, error.ConnectionClosedError, OSError) as failed:
        sys.exit(f"the display {os.environ.get('DISPLAY', '')} cannot be used: {failed}")
    from trayagent.desktop.tray.xembed_pystray import Icon

    while (lines := source.read()) is not None:
        if lines:
            Icon(source, decoded(lines[-1])).serve()
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
