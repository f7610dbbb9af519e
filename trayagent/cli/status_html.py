"""Write the page of `status --html`: the agent's view, the history, and recent decisions in sentences."""

from __future__ import annotations

from trayagent.cli.output import print_line, request
from trayagent.presentation.text import clean
from trayagent.presentation.translation import _, agent_text, translated_view

TYPE_CHECKING = False  # importing typing costs 4 ms
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from trayagent.status_page.whole_page import Decision, Past

EXAMPLE = "~/status.html"
WEEK_S = 7 * 86400
SEEN_S = 30 * 86400
"""How far back the events are read, in seconds. A host without an event in this time has no outage to show."""
HOSTS, DECISIONS = 6, 20
"""The page shows the last DECISIONS decisions about the HOSTS hosts that had the newest events."""


def write_status_page(args: argparse.Namespace) -> int:
    """Write the page to the file that the user named, and return the exit status."""
    from trayagent.cli.write_html_file import page_file, write_page
    from trayagent.presentation import times
    from trayagent.status_page.whole_page import page

    page_file(args.html, EXAMPLE)  # report a wrong file name before asking the agent
    view = translated_view(request("status", hosts=args.hosts))
    file = write_page(args.html, page(view, _past(args, view), times.now()), EXAMPLE)
    print_line(_("Written: {file}").format(file=clean(str(file))))
    return 0


def _past(args: argparse.Namespace, view: Mapping[str, Any]) -> Past:
    from trayagent.config import file_paths
    from trayagent.history.charts import Period
    from trayagent.history.outages import outages, sightings
    from trayagent.history.record_events import History, HistoryUnreadable
    from trayagent.presentation import times
    from trayagent.status_page.whole_page import Past

    period = Period(times.before(WEEK_S), times.now())
    names = dict.fromkeys(host["name"] for host in view["hosts"])
    try:
        events = History(file_paths.find(args.config).history_db).events(
            since=times.before(SEEN_S).timestamp()
        )
    except HistoryUnreadable as error:
        return Past((), {}, (), period, _decisions(names), agent_text(error.title))
    own = [event for event in events if not args.hosts or event.get("host") in {None, *names}]
    found = [o for o in outages(own) if o.ended is None or times.read(o.ended) >= period.since]
    newest = [event["host"] for event in reversed(own) if event.get("host") in names]
    return Past(own, sightings(own), found, period, _decisions([*newest, *names]))


def _decisions(hosts: Iterable[str]) -> Sequence[Decision]:
    """Return the newest decisions about the first HOSTS hosts, oldest first. Leave out those without a sentence."""
    from itertools import islice

    from trayagent.cli.why_sentences import sentence
    from trayagent.errors import TrayagentError
    from trayagent.status_page.whole_page import Decision

    found = []
    for host in islice(dict.fromkeys(hosts), HOSTS):
        try:
            decisions = request("why", host=host)["decisions"]
        except TrayagentError:
            continue  # the host was removed from the configuration just now
        for given in decisions:
            pairs = given.get("pairs")  # an older agent reports only the text
            meaning = None if pairs is None else sentence(given["row"], given["verdict"], pairs)
            if meaning is not None:
                found.append(Decision(given["at"], host, meaning))
    return sorted(found, key=lambda decision: decision.at)[-DECISIONS:]
