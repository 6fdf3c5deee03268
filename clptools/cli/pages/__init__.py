"""What `clptools.cli.generate` writes from data; no command imports it.

`man_pages` makes the manual, `completions` the scripts of the shells, `docs` the pages of `docs/`.
A new page is a function here and its path in `generate.files`.
"""
