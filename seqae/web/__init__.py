"""The page that a report, a server and a notebook share; it knows plain data only.

`payload` says what the page is given, `page` makes one HTML file of it. Who measures, decodes or
serves is elsewhere: seqae.tasks and seqae.bundle.
"""
