"""corosync and pacemaker of Debian 12 on two servers that are namespaces, as clptools' own are.

Their files are those of the laboratory's image, each server with a layer of its own over them; the
network is that of `tests.real.cluster`.  They end with the processes that are their machines.
"""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

from tests.real.cluster import Cluster, Node, until

COROSYNC = """\
totem {{
    version: 2
    cluster_name: bench
    transport: knet
    crypto_cipher: none
    crypto_hash: none
}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
    two_node: 1
    wait_for_all: 0
}}
logging {{
    to_syslog: no
    to_stderr: no
    to_logfile: yes
    logfile: /var/log/corosync.log
}}
"""
NODE = """\
    node {{
        name: {name}
        nodeid: {number}
        ring0_addr: {first}
        ring1_addr: {second}
    }}
"""
CIB = """\
<cib validate-with="pacemaker-3.9" admin_epoch="1" epoch="1" num_updates="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="options">
        <nvpair id="o1" name="stonith-enabled" value="false"/>
        <nvpair id="o2" name="load-threshold" value="1000%"/>
      </cluster_property_set>
    </crm_config>
    <nodes/>
    <resources>
      <group id="failover1">
        <meta_attributes id="group-meta">
          <nvpair id="group-role" name="target-role" value="Stopped"/>
          <nvpair id="group-ordered" name="ordered" value="{ordered}"/>
        </meta_attributes>
{resources}      </group>
    </resources>
    <constraints/>
  </configuration>
  <status/>
</cib>
"""
RESOURCE = """\
        <primitive id="{name}" class="ocf" provider="heartbeat" type="Dummy">
          <operations>
            <op id="{name}-monitor" name="monitor" interval="{interval_s}s" timeout="20s"/>
          </operations>
        </primitive>
"""
BOOT = """\
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={tree},upperdir={top}/upper,workdir={top}/work {top}/root
cd {top}/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mkdir -p run/resource-agents run/lock
mount --bind {states} run/resource-agents
hostname {name}
install -m 600 {top}/corosync.conf etc/corosync/corosync.conf
install -d -o 0 -m 755 var/log/pacemaker
rm -rf var/lib/pacemaker/cib/* var/lib/pacemaker/pengine/*
install -m 600 {top}/cib.xml var/lib/pacemaker/cib/cib.xml
exec chroot . sh -c '
chown -R hacluster:haclient /var/lib/pacemaker /var/log/pacemaker
echo $$ >/run/booted
corosync -f &
until corosync-cfgtool -s >/dev/null 2>&1; do sleep 0.1; done
exec pacemakerd -f >/dev/null 2>&1'
"""
STARTS_WITHIN_S = 60.0


class Pacemaker:
    """A cluster that runs until `close`; the wires and folders are those of `cluster`."""

    def __init__(
        self, cluster: Cluster, tree: Path, names: tuple[str, ...], interval_s: int, ordered: bool
    ) -> None:
        """A group of `ocf:heartbeat:Dummy` of these names, stopped."""
        self._cluster = cluster
        self._machines: dict[str, subprocess.Popen[bytes]] = {}
        nodes = "".join(
            NODE.format(
                name=node.name,
                number=node.number,
                first=cluster.address(1, node.number),
                second=cluster.address(2, node.number),
            )
            for node in cluster
        )
        resources = "".join(RESOURCE.format(name=name, interval_s=interval_s) for name in names)
        for node in cluster:
            top = node.root / "pacemaker"
            for folder in ("upper", "work", "root"):
                (top / folder).mkdir(parents=True)
            (top / "corosync.conf").write_text(COROSYNC.format(nodes=nodes))
            cib = CIB.format(resources=resources, ordered=str(ordered).lower())
            (top / "cib.xml").write_text(cib)
            states = node.root / "run/resource-agents"
            states.mkdir(parents=True, exist_ok=True)
            (top / "boot.sh").write_text(
                BOOT.format(tree=tree, top=top, states=states, name=node.name)
            )

    def start(self) -> None:
        """Starts both servers; returns when they are one cluster.  Raises AssertionError."""
        for node in self._cluster:
            with open(node.root / "pacemaker/boot.log", "wb") as log:
                self._machines[node.name] = subprocess.Popen(
                    [
                        *("setpriv", "--pdeathsig", "KILL"),
                        *node.within("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork"),
                        *("--kill-child", "sh", str(node.root / "pacemaker/boot.sh")),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        for node in self._cluster:
            until(f"{node.name} has both online", partial(self._whole, node), STARTS_WITHIN_S)

    def begin(self, node: Node, *words: str) -> subprocess.Popen[str]:
        """Starts one of its own commands on this server.  Raises ValueError: it is not up."""
        machine = self._machines[node.name].pid
        (first,) = Path(f"/proc/{machine}/task/{machine}/children").read_text().split()
        enter = ("nsenter", "-t", first, "-m", "-n", "-u", "-i", "-p")
        return subprocess.Popen(
            [*enter, f"--root=/proc/{first}/root", "--wd=/", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        """Ends everything of it."""
        for machine in self._machines.values():
            machine.kill()
            machine.wait()

    def _whole(self, node: Node) -> bool:
        try:
            said = self.begin(node, "crm_mon", "-1").communicate(timeout=60)[0]
        except ValueError:  # its machine has no process yet
            return False
        return f"Online: [ {' '.join(each.name for each in self._cluster)} ]" in said
