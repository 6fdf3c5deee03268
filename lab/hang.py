"""A kernel module that keeps all processors for ever, interrupts off: made for the servers' kernel.

No program can do that: since Linux 5.5 not even root may turn interrupts off.  Debian's headers
of that kernel and this machine's compiler make it once; it stays in the cache.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from lab.places import Trouble, cache, missing, run, say

SOURCE_TEXT = """\
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/smp.h>

static void hang(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static int __init hang_init(void)
{
	preempt_disable();
	smp_call_function(hang, NULL, 0);
	hang(NULL);
	return 0;
}

module_init(hang_init);
MODULE_LICENSE("GPL");
"""
SRC = "usr/src"


def module(release: str) -> bytes:
    """The module for a kernel (`uname -r`); the first time it needs the way to a Debian mirror.

    Raises Trouble.
    """
    version = hashlib.sha256(SOURCE_TEXT.encode()).hexdigest()[:8]
    made = cache() / f"hang-{release}-{version}.ko"
    if not made.exists():
        lacking = missing(("make", "gcc-12", "dpkg-deb"))
        if lacking:
            raise Trouble(f"not installed: {', '.join(lacking)} (apt-get install make gcc-12)")
        say(f"making a module for Linux {release}")
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            shutil.move(_build(Path(folder), release), made)
    return made.read_bytes()


def _build(folder: Path, release: str) -> Path:
    common = f"linux-headers-{release.removesuffix('-amd64')}-common"
    version = ".".join(release.split(".")[:2])
    packages = (f"linux-headers-{release}", common, f"linux-kbuild-{version}")
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=folder)
    for package in sorted(folder.glob("*.deb")):
        run("dpkg-deb", "-x", package, folder)
    headers = folder / SRC / f"linux-headers-{release}"
    makefile = headers / "Makefile"
    makefile.write_text(makefile.read_text().replace(f"/{SRC}", str(folder / SRC)))
    own = folder / "hang"
    own.mkdir()
    (own / "hang.c").write_text(SOURCE_TEXT)
    (own / "Makefile").write_text("obj-m := hang.o\n")
    run("make", "-s", "-C", headers, f"M={own}", "modules")
    run("strip", "--strip-debug", own / "hang.ko")
    return own / "hang.ko"
