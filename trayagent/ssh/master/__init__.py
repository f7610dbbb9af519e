"""One ssh master: its command line, start, probe and end."""
