"""Where the objects of a loaded configuration stand, for warnings that come after the loading."""

from __future__ import annotations

import tomllib

import msgspec

from clptools.config.lines import Lines, Path
from clptools.config.load import Loaded
from clptools.core.model.settings import Settings
from clptools.reports import Report


class Places:
    """Makes reports on objects by name, each with its line."""

    def __init__(self, loaded: Loaded) -> None:
        self._file = loaded.file
        self._lines = Lines(loaded.text)
        self._document = tomllib.loads(loaded.text)
        settings = loaded.settings or Settings()
        self._orders = {
            "interconnect": [link.name for link in settings.interconnects],
            "monitor": [monitor.name for monitor in settings.monitors],
        }
        """Names by their order in the file, where a name may be left out there."""

    def warn(
        self, label: str, message: str, hint: str = "", *, table: str = "", key: str = ""
    ) -> Report:
        """A warning on key `key` of the object `label`, as in `monitor mrw1`.

        `table` is its place: `cluster`, `server:server1.bmc`, `monitor:mrw1.recovery`,
        `group.resource:exec1`; empty: on no place in the file.
        """
        path = (*self._path(table), *key.split(".")) if key else self._path(table)
        dotted = table.replace(":", ".") + (f".{key}" if key else "")
        return Report(
            severity="warning",
            message=f"{label}: {message}." if label else f"{message}.",
            hint=hint,
            file=self._file if table else "",
            line=self._lines.line(path) if table else 0,
            key=dotted,
        )

    def note(
        self, label: str, message: str, hint: str = "", *, table: str = "", key: str = ""
    ) -> Report:
        """The same of what is good to know and needs no change."""
        report = self.warn(label, message, hint, table=table, key=key)
        return msgspec.structs.replace(report, severity="note")

    def _path(self, table: str) -> Path:
        before, colon, after = table.partition(":")
        if not colon:
            return tuple(before.split(".")) if before else ()
        name, _, inner = after.partition(".")
        found = self._find(self._document, before.split("."), name)
        return (*found, *inner.split(".")) if inner else found

    def _find(self, inside: object, steps: list[str], name: str) -> Path:
        """The element of the list at `steps` that is called `name`, else the list."""
        order = self._orders.get(steps[0], [])
        if name in order:
            return (steps[0], order.index(name))
        elements = inside.get(steps[0], []) if isinstance(inside, dict) else []
        if not isinstance(elements, list):
            return (steps[0],)
        for index, element in enumerate(elements):
            if len(steps) > 1:
                deeper = self._find(element, steps[1:], name)
                if len(deeper) > 1:
                    return (steps[0], index, *deeper)
            elif isinstance(element, dict) and element.get("name") == name:
                return (steps[0], index)
        return (steps[0],)
