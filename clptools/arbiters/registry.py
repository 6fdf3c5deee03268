"""NP resolution types: name -> module, and the keys that only that type understands.

`majority` has no module: it is the name of the rule that holds without an arbiter.
"""

from __future__ import annotations

from clptools.config.field import (
    ADDRESS,
    BOOLEAN,
    PATH,
    TEXT,
    URL,
    Field,
    list_of,
    one_or_per_server,
)

VARIANTS: dict[str, str] = {
    "ping": "clptools.arbiters.ping",
    "http": "clptools.arbiters.http",
    "witness": "clptools.arbiters.witness",
    "disk": "clptools.arbiters.disk",
    "etcd": "clptools.arbiters.etcd",
}

_URL = Field(section="np", name="url", parse=URL, required=True, help="The URL to ask.")
_CA = Field(
    section="np",
    name="ca",
    parse=PATH,
    help="Certificate authority of an https URL (PEM). Default: those of the system.",
)

FIELDS: dict[str, tuple[Field, ...]] = {
    "majority": (),
    "ping": (
        Field(
            section="np",
            name="targets",
            parse=list_of(ADDRESS, at_least=1),
            required=True,
            help="Addresses. One of them must answer.",
        ),
    ),
    "http": (_URL, _CA),
    "witness": (_URL, _CA),
    "disk": (
        Field(
            section="np",
            name="path",
            parse=one_or_per_server(PATH),
            required=True,
            help="The shared block device or file.",
        ),
    ),
    "etcd": (
        Field(
            section="np",
            name="endpoints",
            parse=list_of(URL, at_least=1),
            required=True,
            help="Client addresses of the etcd members.",
        ),
        Field(section="np", name="user", parse=TEXT, default="", help="etcd user."),
        Field(
            section="np",
            name="password_file",
            parse=PATH,
            help="File with the etcd user's password, mode 0400.",
        ),
        Field(section="np", name="ca", parse=PATH, help="Certificate authority of etcd (PEM)."),
        Field(section="np", name="cert", parse=PATH, help="Client certificate (PEM)."),
        Field(section="np", name="key", parse=PATH, help="Key of the client certificate (PEM)."),
        Field(
            section="np",
            name="required",
            parse=BOOLEAN,
            default=False,
            help="etcd decides which server is coordinator, instead of the majority.",
        ),
    ),
}
