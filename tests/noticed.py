"""Who is told of notices in a test."""

from __future__ import annotations

from clptools.core.notices.form import Notice


class Noticed(list[str]):
    """Texts of notices, as `me` tells them."""

    def __init__(self, me: str = "server1") -> None:
        super().__init__()
        self.me = me
        self.kinds: list[type[Notice]] = []

    def take(self, notice: Notice) -> None:
        self.append(notice.told(self.me))
        self.kinds.append(type(notice))
