"""The bill of materials of a package, as CycloneDX, and the list of licences.

Both follow from the lock file, which names everything that the package carries beside clptools.
"""

from __future__ import annotations

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from clptools.version import VERSION
from lab.lock import Wheel


def bill(wheels: list[Wheel]) -> str:
    """CycloneDX 1.6 as JSON."""
    licence = LicenseFactory().make_from_string
    whole = Component(
        name="clptools",
        version=VERSION,
        type=ComponentType.APPLICATION,
        bom_ref="clptools",
        licenses=[licence("MIT")],
    )
    parts = [
        Component(
            name=wheel.name,
            version=wheel.version,
            type=ComponentType.LIBRARY,
            bom_ref=wheel.name,
            purl=PackageURL("pypi", name=wheel.name, version=wheel.version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
            licenses=[licence(wheel.licence)],
        )
        for wheel in wheels
    ]
    made = Bom(components=parts)
    made.metadata.component = whole
    made.register_dependency(whole, parts)
    return JsonV1Dot6(made).output_as_string(indent=1)


def licences(wheels: list[Wheel]) -> str:
    """One line a dependency, for people."""
    lines = [f"{wheel.name} {wheel.version}: {wheel.licence}\n" for wheel in wheels]
    return f"clptools {VERSION}: MIT\n\nIt carries, each under its own licence:\n{''.join(lines)}"
