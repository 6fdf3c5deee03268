"""`clp.toml`: its keys as data, and everything that reads, checks, writes or edits it.

- Keys: `field` (kinds of values), `fields*` (the tables), `variants` (types; their keys are in the
  `registry.py` of their rooms).  A new key is one `Field` there and one in the settings.
- Reading: `load`, by `table`, `typed_tables` and `lines`; `servers`, `interconnects`, `groups`,
  `monitors` and `trap_profiles` read the tables (`trap_checks` those against each other, by the
  names in `trap_names`).  A fault of one key or of two belongs there: the configuration is refused.
- Checking what loads: `check`, `check_machine` with `facts`, and `safety`.  Warnings belong there.
- Writing: `files`, `history`, `scripts`.  Editing: `document`, `statements`, `edit`, `references`.
- The original's `clp.conf`: `clpconf` (the tree), `original` (the table of parameters),
  `original_alerts`, `offers` (what does the work of types that are none here), `importer*` and
  `translation`, `exporter*`, `told`.
"""
