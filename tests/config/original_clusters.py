"""Generated `clp.conf` files: every type, every parameter that public samples and tools show."""

from __future__ import annotations

import random

from clptools.config.clpconf import Node
from clptools.config.variants import REFUSED

CLUSTER = {
    "all/charset": "ASCII", "all/encode": "ASCII", "all/serveros": "linux", "dummyconf": "0",
    "cluster/name": "generated", "cluster/comment": "ours", "cluster/uuid": "4-2",
    "cluster/heartbeat/interval": "3000", "cluster/heartbeat/timeout": "90000",
    "cluster/networkpartition/npaction": "3", "cluster/messages/use": "1",
    "cluster/mail/address": "a@example.com,b@example.com", "cluster/mail/subject": "ours",
    "cluster/mail/sendtype": "SMTP", "cluster/mail/smtp/charset": "US-ASCII",
    "cluster/mail/smtp/timeout": "30", "cluster/mail/smtp/subencode": "1",
    "cluster/mail/smtp/smtpsrv@0/priority": "0",
    "cluster/mail/smtp/smtpsrv@0/srvname": "192.0.2.25",
    "cluster/mail/smtp/smtpsrv@0/port": "587",
    "cluster/mail/smtp/smtpsrv@0/senderaddress": "c@example.com",
    "cluster/mail/smtp/smtpsrv@0/auth": "1",
    "cluster/mail/smtp/smtpsrv@0/authmethod": "LOGIN",
    "cluster/mail/smtp/smtpsrv@0/username": "clp",
    "cluster/mail/smtp/smtpsrv@0/passwd": "80000009b91b",
    "cluster/mail/smtp/smtpsrv@1/srvname": "192.0.2.26",
    "cluster/trap/snmpsrv@0/srvname": "192.0.2.16", "cluster/trap/snmpsrv@0/port": "162",
    "cluster/trap/snmpsrv@0/snmpver": "v1", "cluster/trap/snmpsrv@0/snmpcom": "site",
    "cluster/trap/snmpsrv@1/srvname": "192.0.2.17", "cluster/trap/snmpsrv@1/snmpver": "v2c",
    "cluster/cialert/use": "1", "cluster/cialert/repeat": "1",
    "cluster/cialert/execcmd_interval": "120", "cluster/rsctimeout/rsctoaction": "2",
    "cluster/syslog/format/level": "1", "cluster/dn1000s/use": "1",
    "alertservice/dn1000s@dn1000s1/priority": "0", "alertservice/dn1000s@dn1000s1/device": "20000",
    "haltp/method": "keepalive", "haltp/action": "PANIC", "pm/exec0/recover": "2",
    "pm/exec1/recover": "3", "rm/errordetect/norecovery": "1", "rm/haltcount": "3",
    "rc/errordetect/rscact/norecovery": "1", "rc/errordetect/rscdeact/norecovery": "1",
    "webmgr/client/objectnumber": "99", "webmgr/security/clientlist/iprest": "1",
    "webmgr/security/clientlist/ip@192.0.2.0": "1", "webalert/use": "1",
    "webalert/main/alertlog/maxrecordcount": "10000", "messages/rc@10/syslog": "1",
    "messages/rc@10/alert": "1", "messages/rc@10/mail": "0", "messages/rc@10/trap": "0",
    "statsd/mode": "1", "statsd/server/host": "192.0.2.8", "statsd/server/port": "8125",
    "rstd/use": "1", "trekking/configid": "420109.5", "trekking/create": "1",
    "trekking/savedversion": "4.2.0-1",
}  # fmt: skip
SERVER = {"comment": "left rack", "survive": "1"}
DEVICES = {
    0: ("lan", "192.0.2.{n}"), 1: ("lan", "198.51.100.{n}"), 300: ("disk", "/dev/sdb1"),
    400: ("mdc", "192.0.2.{n}"), 600: ("bmc", "203.0.113.{n}"), 700: ("witness", "1"),
    10200: ("ping", "1"), 10700: ("http", "0"), 20000: ("dn1000s", "192.0.2.99"),
}  # fmt: skip
LINKS = {
    "lankhb": 0, "lanhb": 1, "bmchb": 600, "witnesshb": 700, "diskhb": 300, "comhb": 100,
}  # fmt: skip
NPS = {"pingnp": 10200, "httpnp": 10700, "comnp": 100, "disknp": 300}
GROUP = {"comment": "ours", "start": "0", "failover": "0", "failback": "1"}
RESOURCE = {
    "comment": "ours", "act/retry": "2", "act/fo": "1", "act/action": "2", "act/timeout": "480",
    "deact/timeout": "480", "deact/retry": "1", "deact/action": "4",
}  # fmt: skip
RESOURCES = {
    "exec": {
        "parameters/act/path": "start.sh", "parameters/deact/path": "stop.sh",
        "parameters/timeout/start": "300", "parameters/timeout/stop": "600",
        "parameters/timeout/startothers": "10", "parameters/timeout/stopothers": "10",
        "parameters/act/sync": "0", "parameters/deact/sync": "0",
        "parameters/act/postrunothers": "1", "parameters/deact/prerunothers": "0",
        "parameters/userlog": "/var/log/exec.log", "parameters/logrotate/use": "1",
        "parameters/logrotate/size": "1000000", "parameters/nonsense": "1",
    },
    "fip": {
        "parameters/ip": "192.0.2.200%eth1",
        "server@server2/parameters/ip": "192.0.2.201/25%eth2",
        "server@server2/parameters/nonsense": "1",
    },
    "md": {
        "parameters/nmppath": "/dev/NMP1", "parameters/mount/point": "/mnt/md1",
        "parameters/netdev@0/device": "400", "parameters/fs": "ext4",
    },
    "disk": {"parameters/device": "/dev/sdb2", "parameters/mount/point": "/mnt/disk1"},
    "awsvip": {"parameters/ip": "10.0.0.9", "server@server2/parameters/eniid": "eni-2"},
}  # fmt: skip
MONITOR = {
    "comment": "ours", "polling/interval": "20", "polling/timeout": "40",
    "polling/reconfirmation": "2", "polling/servers@1/name": "server2",
    "polling/servers@0/name": "server1", "firstmonwait": "5",
    "emergency/threshold/restart": "2", "emergency/threshold/fo": "0", "emergency/action": "5",
    "emergency/preaction/use": "1", "emergency/preaction/userestart": "0",
    "emergency/preaction/usefailover": "0", "emergency/preaction/default": "0",
    "emergency/preaction/path": "before.sh", "emergency/preaction/timeout": "5",
    "emergency/timeout/notreconfirmation/use": "0", "emergency/timeout/notrecovery/use": "1",
    "emergency/dumpcollect/use": "1", "relation/type": "grp", "relation/name": "failover1",
}  # fmt: skip
MONITORS = {
    "userw": {
        "parameters/method": "softdog", "parameters/action": "PANIC", "parameters/usehb": "0",
        "parameters/repopen": "0", "parameters/writesize": "10000", "parameters/mkthread": "1",
    },
    "mrw": {
        "parameters/category": "NIC", "parameters/keyword": "eth0",
        "server@server2/parameters/keyword": "eth1",
    },
    "genw": {
        "parameters/path": "genw.sh", "parameters/sync": "1", "parameters/normalval": "0,2",
        "parameters/logrotate/use": "0", "parameters/waitstop": "1", "parameters/userlog": "/x",
        "target": "exec1", "polling/timing": "1",
    },
    "ipw": {
        "parameters/list@1/ip": "192.0.2.253", "parameters/list@0/ip": "192.0.2.254",
        "server@server2/parameters/list@0/ip": "192.0.2.252",
    },
    "miiw": {"parameters/object": "eth0", "server@server2/parameters/object": "eth1"},
    "pidw": {"target": "exec1"},
    "bmcw": {},
    "diskw": {
        "parameters/object": "/dev/sda", "server@server2/parameters/object": "/dev/sdb",
        "parameters/size": "512", "parameters/method": "2",
    },
    "fipw": {"target": "fip1", "parameters/monmii": "1"},
}  # fmt: skip


def whole() -> Node:
    """One cluster with all of it."""
    root = Node("root")
    for path, value in CLUSTER.items():
        root.set(path, value)
    for number, name in enumerate(("server1", "server2"), 1):
        server = root.make(f"server@{name}")
        server.set("priority", str(number - 1))
        for tag, value in SERVER.items():
            server.set(tag, value)
        for device, (kind, info) in DEVICES.items():
            server.set(f"device@{device}/type", kind)
            server.set(f"device@{device}/info", info.format(n=number))
    _links(root)
    group = root.make("group@failover1")
    for tag, value in {**GROUP, "gid": "0", "type": "failover"}.items():
        group.set(tag, value)
    group.set("policy@server2/order", "1")
    group.set("policy@server1/order", "0")
    for kind, parameters in RESOURCES.items():
        group.children.append(Node("resource", f"{kind}@{kind}1"))
        _object(root, "resource", kind, {**RESOURCE, **parameters})
    root.make("resource/exec@exec1").children += [Node("depend", one) for one in ("md1", "fip1")]
    root.make("resource/md@md1").children.append(Node("depend", "disk1"))
    for name, exclusive in (("failover2", "1"), ("failover3", "2"), ("failover4", "0")):
        root.set(f"group@{name}/exclusive", exclusive)
    group.make("depend/act/depend@failover4")
    group.set("depend/act/depend@failover3/sameserver", "1")
    group.make("depend/act/depend@gone")
    group.make("depend/deact/depend@failover2")
    for tag, value in {
        "act/timeout": "60", "deact/timeout": "90", "deact/cluster/use": "0",
        "deact/server/use": "1", "deact/other/use": "1",
    }.items():  # fmt: skip
        group.set(f"depend/{tag}", value)
    management = root.make("group@ManagementGroup")
    management.set("type", "cluster")
    for kind in (*MONITORS, *REFUSED["monitor"]):
        _object(root, "monitor", kind, {**MONITOR, **MONITORS.get(kind, {"parameters/x": "1"})})
    return root


def _links(root: Node) -> None:
    for place, (kind, device) in enumerate(LINKS.items()):
        link = _object(root, "heartbeat", kind, {"priority": str(place), "device": str(device)})
        if kind == "witnesshb":
            link.set("host", "192.0.2.70")
            link.set("port", "8080")
    for place, (kind, device) in enumerate(NPS.items()):
        parts = {"priority": str(place), "device": str(device), "interval": "5"}
        np = _object(root, "networkpartition", kind, parts)
        if kind == "pingnp":
            np.set("grp@0/list@1/ip", "192.0.2.253")
            np.set("grp@0/list@0/ip", "192.0.2.254")
            np.set("grp@1/list@0/ip", "192.0.2.252")
        elif kind == "httpnp":
            np.set("host", "192.0.2.80")


def _object(root: Node, section: str, kind: str, parameters: dict[str, str]) -> Node:
    holder = root.make(section)
    holder.make(f"types@{kind}")
    node = holder.make(f"{kind}@{kind if kind == 'userw' else kind + '1'}")
    for tag, value in parameters.items():
        node.set(tag, value)
    return node


def shuffled(root: Node, seed: int) -> Node:
    """The same tree with the children of every element in another order."""
    chance = random.Random(seed)

    def turned(node: Node) -> Node:
        copy = Node(node.tag, node.label, node.text)
        copy.children = [turned(child) for child in node.children]
        chance.shuffle(copy.children)
        return copy

    return turned(root)
