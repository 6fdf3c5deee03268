"""What a command has to say when it is done; `main.py` alone prints and exits."""

from __future__ import annotations

SUCCEEDED = "Command succeeded."


class Answer:
    """Text for people, an object for programs, and the exit code.

    `fields` goes out with `--json`, together with `"schema": 1`.  A command that has already
    written what it had to say (a live screen, a stream) answers with neither.
    """

    __slots__ = ("code", "fields", "text")

    def __init__(
        self, text: str = "", fields: dict[str, object] | None = None, code: int = 0
    ) -> None:
        self.text = text
        self.fields = fields
        self.code = code


def as_json(fields: dict[str, object]) -> str:
    """An object as programs read it, on one line that standard output can take."""
    import json
    import sys

    # Elsewhere than in UTF-8 a stream would write `\xe9`, and that is no JSON.
    encoding = sys.stdout.encoding or "utf-8"
    return json.dumps(fields, ensure_ascii=not encoding.lower().startswith("utf"))


def done(text: str = "", **fields: object) -> Answer:
    """Done, or already so: what the original prints, or the sentence that says more."""
    said = text or SUCCEEDED
    return Answer(said, {"result": "done", "text": said, **fields})
