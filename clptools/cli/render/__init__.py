"""What commands show: the views of `clpstat`, and what `clpcfchk` finds.

Each module turns decoded JSON, settings or records into text, SVG or HTML; only `live` opens a
socket or a terminal.
`text` has what all of them share; a new view is a module here and an option of `clpstat`.
"""
