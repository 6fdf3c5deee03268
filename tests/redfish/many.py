"""Many Redfish services in one process, which answer with the same power: for measurements.

`many.py FOLDER ADDRESS FIRST_PORT COUNT`; the certificate is in the folder.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

_SYSTEM = "/redfish/v1/Systems/1"
PAGES = {
    "/redfish/v1/": {"Systems": {"@odata.id": "/redfish/v1/Systems"}},
    "/redfish/v1/Systems": {"Members": [{"@odata.id": _SYSTEM}]},
    _SYSTEM: {
        "PowerState": "On",
        "UUID": "27946b59-9e44-4fa7-8e91-f3527a1ef094",
        "Status": {"State": "Enabled", "Health": "OK"},
        # As much as a BMC says beside it.
        "Boot": {f"Option{number}": "a value of some length" for number in range(60)},
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{_SYSTEM}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart", "Nmi"],
            }
        },
    },
}


async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = json.dumps(PAGES.get(head.split(b" ")[1].decode(), {})).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        writer.close()


async def main() -> None:
    """Runs until it is killed."""
    folder, address, first, count = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(folder) / "cert.pem", Path(folder) / "key.pem")
    for port in range(int(first), int(first) + int(count)):
        await asyncio.start_server(_connected, address, port, ssl=context)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
