"""The first configuration: what keeps ssh connected on this machine today, and what that is in our words.

`survey` reads, `meaning` asks `ssh -G`, `proposal` decides, `chooser` asks the person, `written` writes.
"""
