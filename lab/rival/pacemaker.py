"""corosync and pacemaker as a careful administrator configures them for two servers.

The same two interconnects, floating address, application and BMCs as the sample cluster.  Two
votes and `two_node`; a fencing device for each server, by `fence_ipmilan`; the group prefers the
first server, so that it returns there by itself after each round.  Its throttle (`load-threshold`)
is off: an emulated processor is always busy, and it would do one thing at a time.
"""

from __future__ import annotations

import contextlib
import time
from xml.etree import ElementTree

import msgspec

from lab.case import Lab
from lab.guestagent import Failed, GuestGone
from lab.image import NETWORKS
from lab.machine import PASSWORD, USER, Machine
from lab.network import bmc_address
from lab.rival.contender import Steps

READY_WITHIN_S = 300.0

COROSYNC = """\
totem {{
    version: 2
    cluster_name: lab
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: {token_ms}
}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
    two_node: 1
}}
logging {{
    to_syslog: yes
    to_stderr: no
    to_logfile: no
    timestamp: hires
}}
"""
NODE = """\
    node {{
        name: server{n}
        nodeid: {n}
        ring0_addr: {lan1}.{n}
        ring1_addr: {lan2}.{n}
    }}
"""

CIB = """\
<cib validate-with="pacemaker-3.9" admin_epoch="1" epoch="1" num_updates="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="options">
        <nvpair id="o1" name="stonith-enabled" value="true"/>
        <nvpair id="o2" name="stonith-action" value="off"/>
        <nvpair id="o3" name="priority-fencing-delay" value="{priority_delay_s}s"/>
        <nvpair id="o4" name="load-threshold" value="1000%"/>
      </cluster_property_set>
    </crm_config>
    <nodes/>
    <resources>
      <group id="failover1">
        <meta_attributes id="failover1-meta">
          <nvpair id="failover1-priority" name="priority" value="1"/>
        </meta_attributes>
        <primitive id="fip1" class="ocf" provider="heartbeat" type="IPaddr2">
          <instance_attributes id="fip1-is">
            <nvpair id="fip1-ip" name="ip" value="{lan1}.100"/>
            <nvpair id="fip1-netmask" name="cidr_netmask" value="24"/>
            <nvpair id="fip1-nic" name="nic" value="lan1"/>
          </instance_attributes>
          <operations>
            <op id="fip1-monitor" name="monitor" interval="10s" timeout="60s"/>
            <op id="fip1-start" name="start" interval="0" timeout="60s"/>
            <op id="fip1-stop" name="stop" interval="0" timeout="60s"/>
          </operations>
        </primitive>
        <primitive id="exec1" class="ocf" provider="lab" type="workload">
          <operations>
            <op id="exec1-monitor" name="monitor" interval="10s" timeout="60s"/>
            <op id="exec1-start" name="start" interval="0" timeout="60s"/>
            <op id="exec1-stop" name="stop" interval="0" timeout="60s"/>
          </operations>
        </primitive>
      </group>
{devices}    </resources>
    <constraints>
      <rsc_location id="home" rsc="failover1" node="server1" score="100"/>
{places}    </constraints>
  </configuration>
  <status/>
</cib>
"""
DEVICE = """\
      <primitive id="fence-server{n}" class="stonith" type="fence_ipmilan">
        <instance_attributes id="fence-server{n}-is">
          <nvpair id="fence-server{n}-hosts" name="pcmk_host_list" value="server{n}"/>
          <nvpair id="fence-server{n}-ip" name="ip" value="{bmc}"/>
          <nvpair id="fence-server{n}-user" name="username" value="{user}"/>
          <nvpair id="fence-server{n}-password" name="password" value="{password}"/>
          <nvpair id="fence-server{n}-lanplus" name="lanplus" value="1"/>
          <nvpair id="fence-server{n}-cipher" name="cipher" value="3"/>
          <nvpair id="fence-server{n}-wait" name="power_wait" value="{power_wait_s}"/>
{delay}        </instance_attributes>
        <operations>
          <op id="fence-server{n}-monitor" name="monitor" interval="60s" timeout="60s"/>
        </operations>
      </primitive>
"""
DELAY = """\
          <nvpair id="fence-server{n}-delay" name="pcmk_delay_base" value="{delay_s}s"/>
"""
PLACE = """\
      <rsc_location id="apart{n}" rsc="fence-server{n}" node="server{n}" score="-INFINITY"/>
"""

WORKLOAD = """\
#!/bin/sh
# OCF agent of the laboratory's application: by the same two scripts that clptools runs.
case "$1" in
start) exec /usr/lib/clptools-lab/start.sh ;;
stop) exec /usr/lib/clptools-lab/stop.sh ;;
monitor)
    pid=$(cat /run/workload.pid 2>/dev/null) && kill -0 "$pid" 2>/dev/null && exit 0
    exit 7 ;;
meta-data) cat <<END
<?xml version="1.0"?>
<resource-agent name="workload" version="1"><version>1.0</version>
<longdesc lang="en">Workload of the laboratory</longdesc>
<shortdesc lang="en">Workload of the laboratory</shortdesc><parameters/>
<actions><action name="start" timeout="60s"/><action name="stop" timeout="60s"/>
<action name="monitor" timeout="60s" interval="10s"/><action name="meta-data" timeout="5s"/>
</actions></resource-agent>
END
    ;;
*) exit 3 ;;
esac
"""

NOTED = {
    "A new membership": "membership",
    "Requesting fencing": "fencing asked",
    "Operation 'off' targeting": "forced stop done",
}
"""What its log says at each step, and what the step is called in the results."""


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """One way to configure it."""

    name: str
    token_ms: int
    """corosync gives a silent server up after this and, by its default, 1.2 times this more."""
    power_wait_s: int
    """What `fence_ipmilan` waits after an order before it reads the power; its default is 2."""
    priority_delay_s: int = 0
    """`priority-fencing-delay`: who does not run the group lets the other shoot first.  0: a
    static delay instead, and on the other side: who survives these faults never waits."""

    @property
    def called(self) -> str:
        """The contender's name."""
        return f"pacemaker, {self.name}"


STATIC_DELAY_S = 5


class Pacemaker:
    """The cluster of two servers; from `begin` to `end` clptools is stopped on them."""

    def __init__(self, lab: Lab, tuning: Tuning) -> None:
        self.lab = lab
        self._tune(tuning)

    def begin(self) -> None:
        """Puts its configuration on both servers and starts it.  Raises Failed and GuestGone."""
        for each in self.lab.servers:
            each.write("/etc/corosync/corosync.conf", self.corosync())
            each.write("/usr/lib/ocf/resource.d/lab/workload", WORKLOAD, "0755")
            each.sh("rm -rf /var/lib/pacemaker/cib/* /var/lib/pacemaker/pengine/*")
            each.write("/var/lib/pacemaker/cib/cib.xml", self.cib(), "0600")
            each.sh("chown hacluster:haclient /var/lib/pacemaker/cib/cib.xml")
        for each in self.lab.servers:
            self._start(each)

    def retune(self, tuning: Tuning) -> None:
        """Another way to configure it, put in force while it runs.  Raises Failed."""
        self._tune(tuning)
        home = self.lab.servers[0]
        for each in self.lab.servers:
            each.write("/etc/corosync/corosync.conf", self.corosync())
        home.sh("corosync-cfgtool -R")
        configuration = ElementTree.fromstring(self.cib()).find("configuration")
        assert configuration is not None
        for scope in ("crm_config", "resources"):
            section = configuration.find(scope)
            assert section is not None
            text = ElementTree.tostring(section, encoding="unicode")
            home.sh(f"cibadmin --replace --scope {scope} --xml-pipe", text=text)
        home.sh("crm_resource --wait", within_s=180)

    def ready(self) -> None:
        """Returns when both servers are online and the group is where it prefers to be.

        A server that was powered off is started with what belongs to the cluster.
        """
        for each in self.lab.servers:
            self._start(each)
        self.lab.until(f"{self.name} is settled", self._settled, READY_WITHIN_S)

    def end(self) -> None:
        """Stops it on all servers that run; nothing of it is left to start again."""
        for each in reversed(self.lab.servers):
            with contextlib.suppress(GuestGone, Failed):
                each.sh("systemctl stop pacemaker corosync", within_s=180)
                each.sh("rm -rf /var/lib/pacemaker/cib/* /etc/corosync/corosync.conf")

    def steps(self, other: Machine, since: float) -> Steps:
        """What its own log says since then, as seconds from it."""
        asked = time.monotonic()
        clock = float(other.sh("date +%s.%N", within_s=30))
        offset = (asked + time.monotonic()) / 2 - clock
        of = f"-u corosync -u pacemaker --since @{since - offset:.0f}"
        log = other.sh(f"journalctl --no-pager -o short-unix {of}", within_s=60)
        found: Steps = {}
        for line in log.splitlines():
            for words, name in NOTED.items():
                if words in line and name not in found:
                    after = float(line.split()[0]) + offset - since
                    if after > 0:
                        found[name] = round(after, 2)
        return found

    def _tune(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.silence_s = tuning.token_ms / 1000
        self.name = tuning.called

    def _start(self, server: Machine) -> None:
        server.sh("systemctl start --no-block corosync pacemaker", within_s=60)

    def _settled(self) -> bool:
        """Both online, everything started, the group on the first server."""
        home = self.lab.servers[0]
        if self.lab.collector.speaker() != home.name:
            return False
        try:
            status, said = home.try_sh("crm_mon -1 -r --output-as=xml 2>/dev/null", within_s=30)
            if status:
                return False
            shown = ElementTree.fromstring(said)
        except (GuestGone, ElementTree.ParseError):
            return False
        online = [n for n in shown.iterfind("./nodes/node") if n.get("online") == "true"]
        active = [r for r in shown.iter("resource") if r.get("active") == "true"]
        calm = all(r.get("pending") is None and r.get("failed") == "false" for r in active)
        at_home = [r for r in active if r.find("node") is not None and r.get("id") in _MEMBERS]
        names = {node.get("name") for r in at_home for node in r.iterfind("node")}
        everything = len(_MEMBERS) + len(self.lab.servers)
        settled = len(online) == len(self.lab.servers) and len(active) == everything
        return settled and calm and names == {home.name}

    def corosync(self) -> str:
        """`corosync.conf`."""
        prefixes = {name: NETWORKS[name] for name in ("lan1", "lan2")}
        nodes = "".join(NODE.format(n=each.number, **prefixes) for each in self.lab.servers)
        return COROSYNC.format(token_ms=self.tuning.token_ms, nodes=nodes)

    def cib(self) -> str:
        """The cluster's configuration, as pacemaker finds it at its first start."""
        home = self.lab.servers[0]
        away = self.lab.servers[1].number
        static = (
            "" if self.tuning.priority_delay_s else DELAY.format(n=away, delay_s=STATIC_DELAY_S)
        )
        devices = "".join(
            DEVICE.format(
                n=each.number,
                bmc=bmc_address(each.number),
                user=USER,
                password=PASSWORD,
                power_wait_s=self.tuning.power_wait_s,
                delay="" if each is home else static,
            )
            for each in self.lab.servers
        )
        places = "".join(PLACE.format(n=each.number) for each in self.lab.servers)
        return CIB.format(
            priority_delay_s=self.tuning.priority_delay_s,
            lan1=NETWORKS["lan1"],
            devices=devices,
            places=places,
        )


_MEMBERS = ("fip1", "exec1")
