"""A running corosync and pacemaker of Debian 12, and the Debian package of clptools beside it.

Both in one root, so that commands of both start from the same files by the same interpreter.  It
is a layer over a Debian tree of the cache, in namespaces of its own, and ends with all that runs
there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lab import package
from lab.image import MIRROR
from lab.places import cache, run

PACKAGES = ("corosync", "pacemaker", "pacemaker-cli-utils", "python3", "iproute2")
READY_S = 120.0

_COROSYNC = """\
totem {
    version: 2
    cluster_name: bench
    transport: knet
    crypto_cipher: none
    crypto_hash: none
}
nodelist {
    node {
        name: server1
        nodeid: 1
        ring0_addr: 10.9.0.1
    }
}
quorum {
    provider: corosync_votequorum
}
logging {
    to_syslog: no
    to_stderr: yes
}
"""
_ROOM = """\
set -e
mount -t tmpfs tmpfs "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
root=$layer/root
dpkg-deb -x "$deb" "$layer/deb"
rm -rf "$root/usr/lib/clptools"
cp -a "$layer/deb/usr/." "$root/usr/"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/$shared"
mount --bind "$shared" "$root/$shared"
ip link set lo up
ip address add 10.9.0.1/24 dev lo
hostname server1
printf %s "$corosync" >"$root/etc/corosync/corosync.conf"
exec chroot "$root" sh -c '
mkdir -p /run/crm /var/log/pacemaker
chown hacluster:haclient /run/crm
corosync -f >/run/corosync.log 2>&1 &
for i in $(seq 100); do corosync-cfgtool -s >/dev/null 2>&1 && break; sleep 0.2; done
pacemakerd -f >/run/pacemakerd.log 2>&1 &
exec /usr/bin/python3 -c "$timer"'
"""
_TIMER = """\
import json, os, sys, time
null = os.open(os.devnull, os.O_RDWR)
for line in sys.stdin:
    words, environment = json.loads(line)
    streams = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
    begun = time.perf_counter()
    pid = os.posix_spawnp(words[0], words, environment, file_actions=streams)
    status = os.waitpid(pid, 0)[1]
    took = time.perf_counter() - begun
    print(json.dumps([os.waitstatus_to_exitcode(status), took * 1000]), flush=True)
"""


class Room:
    """Where both are installed."""

    def __init__(self, timer: subprocess.Popen[str], environment: dict[str, str]) -> None:
        self._timer = timer
        self._environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}

    def took_ms(self, *words: str) -> float:
        """How long a command took, from its start until it was reaped."""
        code, took = self._run(words)
        if code:
            raise RuntimeError(f"{' '.join(words)}: exit status {code}")
        return took

    def try_code(self, *words: str) -> int:
        """The exit status of a command."""
        return int(self._run(words)[0])

    def _run(self, words: tuple[str, ...]) -> tuple[int, float]:
        assert self._timer.stdin is not None and self._timer.stdout is not None
        self._timer.stdin.write(json.dumps([words, self._environment]) + "\n")
        self._timer.stdin.flush()
        code, took = json.loads(self._timer.stdout.readline())
        return code, took


@contextlib.contextmanager
def room(shared: Path, environment: dict[str, str]) -> Iterator[Room]:
    """Both, as root; `shared` has the agent's socket and keeps its path, inside as well.

    `environment` is that of the commands.
    """
    with tempfile.TemporaryDirectory(prefix="clptools-bench.") as made:
        deb = package.build(Path(made) / "deb")
        layer = Path(made) / "layer"
        layer.mkdir()
        given = {
            "tree": str(_tree()),
            "deb": str(deb),
            "layer": str(layer),
            "shared": str(shared),
            "corosync": _COROSYNC,
            "timer": _TIMER,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        }
        timer = subprocess.Popen(
            ["unshare", "-mnpui", "--fork", "--kill-child", "sh", "-c", _ROOM],
            env=given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Room(timer, environment)
        finally:
            # The first process of its namespace takes all others with it.
            timer.kill()
            timer.wait()


def _tree() -> Path:
    """A Debian tree with pacemaker; that of the laboratory, if it is there, else one of its own."""
    for tree in (cache() / "tree", cache() / "bench-tree"):
        if (tree / "usr/sbin/crm_mon").exists():
            return tree
    if shutil.which("debootstrap") is None:
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", "debootstrap")
    unfinished = cache() / "bench-tree.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    include = f"--include={','.join(PACKAGES)}"
    run("debootstrap", "--variant=minbase", include, "bookworm", unfinished, MIRROR)
    unfinished.rename(tree)
    return tree


if __name__ == "__main__":
    print(_tree(), file=sys.stderr)
