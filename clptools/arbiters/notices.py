"""Notices of NP resolution."""

from __future__ import annotations

from clptools.core.notices.form import INFO, WARN, Entry, Notice


class ArbiterSilent(Notice, frozen=True):
    """An arbiter cannot be asked: an even split of the servers would not be decided."""

    entry = Entry("pm", 920, WARN)
    about = ("me",)
    says = "NP resolution cannot decide: {why}"

    why: str


class ArbiterAnswers(Notice, frozen=True):
    """An arbiter can be asked again."""

    entry = Entry("pm", 920, INFO)
    about = ("me",)
    says = "NP resolution {arbiter} answers again"

    arbiter: str
