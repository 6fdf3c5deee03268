"""The version, once: the package's metadata takes it from here.

Asking the metadata (`importlib.metadata`) would be a tenth of an agent's start.
"""

VERSION = "0.2.0"
