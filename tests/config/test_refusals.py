"""What a configuration must not say is refused, with line, key and mend; all of it in one run."""

from __future__ import annotations

import pytest

from tests.config.sample import BMCS, SAMPLE, THREE, TWO, changed, errors, read

MRW = """
[[monitor]]
type = "mrw"
name = "m"
category = "{category}"
[monitor.recovery]
action = "failover"
target = "g"
{recovery}
[[group]]
name = "g"
[[group.resource]]
type = "exec"
name = "e"
"""


def mrw(recovery: str, category: str = "mine", more: str = "") -> str:
    return TWO + MRW.format(category=category, recovery=recovery) + more


def resources(*texts: str) -> str:
    return TWO + '[[group]]\nname = "g"\n' + "".join(f"[[group.resource]]\n{t}\n" for t in texts)


def groups(**keys: str) -> str:
    """Groups by name, each with these lines."""
    made = (f'[[group]]\nname = "{name}"\n{text}\n' for name, text in keys.items())
    return TWO + "".join(made)


CASES = {
    # text -> parts of the one error: key, message, hint
    "unknown key with its near name": (
        changed('name = "cluster"', 'name = "cluster"\nheartbeat_intervall = 1'),
        ["cluster.heartbeat_intervall", "unknown key", "Did you mean heartbeat_interval?"],
    ),
    "the address of a witness with an accent in it": (
        TWO + '[[np]]\ntype = "witness"\nname = "w"\nurl = "http://w\u00edtness:29003"\n',
        ["np.w.url", "must be ASCII", "punycode"],
    ),
    "a password for the mail relay in the clear": (
        TWO + '[alert]\nsmtp_user = "clp"\nsmtp_password_file = "/etc/p"\n',
        ["alert.smtp_user", "in the clear", "starttls"],
    ),
    "a login at the mail relay without password": (
        TWO + '[alert]\nsmtp_user = "clp"\nsmtp_tls = "tls"\n',
        ["alert.smtp_user", "smtp_password_file is missing"],
    ),
    "redfish to whoever answers": (
        BMCS.replace('user = "clp"', 'user = "clp", protocol = "redfish"', 1),
        ["server.server1.bmc.protocol", "either certificate or ca", "clpbmccnf --certificate"],
    ),
    "a certificate's digest that is too short": (
        BMCS.replace('user = "clp"', 'user = "clp", protocol = "redfish", certificate = "ab"', 1),
        ["server.server1.bmc.certificate", "no SHA-256", "64 hexadecimal digits"],
    ),
    "an account that IPMI cannot name": (
        BMCS.replace('user = "clp"', f'user = "{"c" * 17}"', 1),
        ["server.server1.bmc.user", "longer than 16 bytes"],
    ),
    "an account that HTTP cannot name": (
        BMCS.replace(
            'user = "clp"',
            f'user = "a:b", protocol = "redfish", certificate = "{"ab" * 32}"',
            1,
        ),
        ["server.server1.bmc.user", "colon"],
    ),
    "a certificate for IPMI": (
        BMCS.replace('user = "clp"', f'user = "clp", certificate = "{"ab" * 32}"', 1),
        ["server.server1.bmc.certificate", "belongs to protocol"],
    ),
    "a mirror disk, with the reason": (
        resources('type = "md"\nname = "md1"'),
        ["group.g.resource.md1.type", "there are no mirror disks", "replicate"],
    ),
    "a mount, with what does it": (
        resources('type = "disk"\nname = "disk1"'),
        ["group.g.resource.disk1.type", "is no type of its own", "ocf:heartbeat:Filesystem"],
    ),
    "a monitor of mirror disks": (
        TWO + '[[monitor]]\ntype = "mdw"\n',
        ["monitor.mdw.type", "there are no mirror disks"],
    ),
    "the original's name of an NP resolution": (
        TWO + '[[np]]\ntype = "pingnp"\n',
        ["np.pingnp.type", "is called ping here"],
    ),
    "unknown table": (TWO + "[[grup]]\n", ["grup", "unknown table", "Did you mean group?"]),
    "wrong type": (
        TWO + '[cluster]\nheartbeat_interval = "0.2"\n',
        ["cluster.heartbeat_interval", "must be a number of seconds, not text"],
    ),
    "true is no number": (TWO + "[cluster]\nport = true\n", ["must be a whole number"]),
    "not a number": (TWO + "[cluster]\nlease = nan\n", ["cluster.lease", "must be from"]),
    "bad choice": (
        changed('startup = "auto"', 'startup = "atuo"'),
        ["group.failover1.startup", "must be one of auto, manual", "Did you mean auto?"],
    ),
    "a table where a list of tables belongs": (
        '[server]\nname = "x"\n',
        ["server", "write [[server]]"],
    ),
    "missing name": (TWO + "[[group]]\n", ["group.1.name", "is missing"]),
    "two servers of one name": (
        changed('name = "server2"', 'name = "server1"', TWO).replace("server2", "server1x"),
        ["server.server1.name", "already on line 2"],
    ),
    "hardware linkage that cannot be used": (
        TWO + '[cluster]\nhardware = "NX7700x"\n',
        ["cluster.hardware", "that linkage cannot be used", "IPMI 2.0"],
    ),
    "unknown server": (
        TWO + '[[group]]\nname = "g"\nservers = ["sever1"]\n',
        ["group.g.servers", 'no such server "sever1"', "Did you mean server1?"],
    ),
    "one BMC for two servers": (
        changed('address = "10.9.0.2"', 'address = "10.9.0.1"', BMCS),
        ["server.server2.bmc.address", "same BMC as server1"],
    ),
    "serial heartbeat": (
        TWO + '[[interconnect]]\ntype = "comhb"\n',
        ["interconnect.comhb.type", "serial line", "lankhb"],
    ),
    "disk heartbeat": (TWO + '[[interconnect]]\ntype = "diskhb"\n', ["shared disk"]),
    "mirror communication": (TWO + '[[interconnect]]\ntype = "mirror"\n', ["no mirror disks"]),
    "no such heartbeat": (TWO + '[[interconnect]]\ntype = "lanb"\n', ["Did you mean lanhb?"]),
    "BMC heartbeat without BMC": (
        TWO + '[[interconnect]]\ntype = "bmchb"\n[[interconnect]]\ntype = "x"\n',
        ["has no [server.bmc]"],
    ),
    "an interconnect with a server missing": (
        changed(', server2 = "10.0.0.2"', "", TWO),
        ["interconnect.lanhb.address", "none for server2", 'server1 = "…"'],
    ),
    "an address with a port": (
        changed('"10.0.0.2"', '"10.0.0.2:1"', TWO),
        ["interconnect.lanhb.address.server2", "without a port", "29002"],
    ),
    "an address that is none": (
        changed('"10.0.0.2"', '"10.0.0.256"', TWO),
        ["interconnect.lanhb.address.server2", "not an IPv4 or IPv6 address"],
    ),
    "one address for two servers": (
        changed('"10.0.0.2"', '"10.0.0.1"', TWO),
        ["address.server2", "same address as server1"],
    ),
    "both families": (changed('"10.0.0.2"', '"fd00::2"', TWO), ["cannot reach each other"]),
    "no network": (TWO.split("[[interconnect]]")[0], ["no LAN interconnect"]),
    "two keywords for one address": (
        changed('server2 = "192.168.0.2" }\nst', 'server2 = "192.168.0.1" }\nst'),
        [
            "monitor.mrw1.keyword_on.server2",
            'keyword_on.server2 = "192.168.0.1": same address as server1; each server needs',
            'e.g. "192.168.0.2" (interconnect 1)',
        ],
    ),
    "one keyword for all servers": (
        changed("keyword_on = { server1", "# {"),
        ["monitor.mrw1.keyword", "would share it", 'keyword_on = { server2 = "192.168.0.2" }'],
    ),
    "two ports on one server": (
        SAMPLE
        + '[[monitor]]\ntype = "mrw"\nname = "mrw2"\ncategory = "BMCNOTICE"\n'
        + 'keyword_on = { server1 = "192.168.0.1:10162", server2 = "192.168.0.2" }\n',
        ["monitor.mrw2.keyword_on.server1", "port 10162, but mrw1 has port 162 on server1"],
    ),
    "BMCNOTICE without an address": (
        changed('keyword = "192.168.0.1" ', "").replace("keyword_on", "# "),
        ["monitor.mrw1.keyword_on", "none for server1 and server2"],
    ),
    "a category of 33 bytes": (
        mrw("", category="ä" * 16 + "x"),
        ["monitor.m.category", "33 bytes, at most 32"],
    ),
    "an empty category": (mrw("", category=""), ["monitor.m.category", "must not be empty"]),
    "a keyword of 1,024 bytes": (
        changed('category = "mine"', f'category = "mine"\nkeyword = "{"é" * 512}"', mrw("")),
        ["monitor.m.keyword", "1024 bytes, at most 1,023"],
    ),
    **{
        f"a script before a driver's recovery: {category}": (
            mrw('pre_action_script = "x.sh"', category=category),
            ["monitor.m.recovery.pre_action_script", f"category {category}"],
        )
        for category in ("NIC", "FC", "HA/SS", "HA/AM", "HA/RS", "HA/XX", "SPS", "MCE")
    },
    "a script before the BMC's final action": (
        changed('action = "failover"', 'action = "final"\npre_action_script = "x.sh"').replace(
            'pre_action_script = ""', "", 1
        ),
        ["monitor.mrw1.recovery.pre_action_script", "final action of BMCNOTICE"],
    ),
    "outside the server group without server groups": (
        mrw("failover_outside_server_group = true"),
        ["failover_outside_server_group", "no server groups"],
    ),
    "outside the server group for another monitor": (
        mrw(
            "failover_outside_server_group = true",
            more='[[server_group]]\nname = "s"\nservers = ["server1"]\n',
        )
        .replace('"mrw"', '"userw"')
        .replace('category = "mine"', ""),
        ["only for mrw"],
    ),
    "unknown target": (
        changed('target = "failover1"', 'target = "failover2"'),
        [
            "monitor.mrw1.recovery.target",
            'no such group or resource; known: failover1, fip1, exec1, "All Groups".',
            "Did you mean failover1?",
        ],
    ),
    "a script action without script": (mrw("").replace('"failover"', '"script"'), ["is missing"]),
    "stop-resource of a group": (
        mrw('final_action = "stop-resource"'),
        ["recovery.final_action", "needs a group resource"],
    ),
    "after_recovery elsewhere": (mrw('after_recovery = "reset"'), ["only for mrw of category BMC"]),
    "unknown final action": (
        mrw('final_action = "bmc-rest"'),
        ["recovery.final_action", "Did you mean bmc-reset?"],
    ),
    "depends on itself": (
        resources('type = "exec"\nname = "a"\ndepends = ["a"]'),
        ["group.g.resource.a.depends", "cannot depend on itself"],
    ),
    "depends on nothing known": (
        resources('type = "exec"\nname = "a"\ndepends = ["bb"]', 'type = "exec"\nname = "b"'),
        ["no such resource in this group", "Did you mean b?"],
    ),
    "depends in a circle": (
        resources(
            'type = "exec"\nname = "a"\ndepends = ["b"]',
            'type = "exec"\nname = "b"\ndepends = ["a"]',
        ),
        ["goes round in a circle: a needs b needs a"],
    ),
    "a group that starts after itself": (
        groups(a='start_after = ["a"]'),
        ["group.a.start_after", "names the group itself"],
    ),
    "a group that starts after nothing known": (
        groups(web='start_after_same_server = ["dbs"]', db=""),
        ["group.web.start_after_same_server", 'no such group "dbs"', "Did you mean db?"],
    ),
    "groups that start in a circle": (
        groups(
            a='start_after = ["b"]', b='start_after_same_server = ["c"]', c='start_after = ["a"]'
        ),
        ["goes round in a circle: ", "a waits for b", "b waits for c", "Take "],
    ),
    "groups that stop in a circle": (
        groups(a='stop_after = ["b"]', b='stop_after = ["a"]'),
        ["stop_after", "goes round in a circle: a waits for b waits for a", "Take b out of it"],
    ),
    "a group that waits at a stop that there is not": (
        groups(a='stop_after = ["b"]\nstop_after_at = ["move"]', b=""),
        ["group.a.stop_after_at", "must be one of cluster, server, group"],
    ),
    "a group that is kept apart from nothing known": (
        groups(a='exclusive_with = ["c"]', b=""),
        ["group.a.exclusive_with", 'no such group "c"'],
    ),
    "a resource with a group's name": (
        resources('type = "exec"\nname = "g"'),
        ["group.g.resource.g.name", "already on line"],
    ),
    "a floating address without its network": (
        resources('type = "fip"\nname = "f"\naddress = "10.0.0.9"'),
        ["group.g.resource.f.address", 'as in "10.0.0.9/24"'],
    ),
    "a script that climbs out": (
        resources('type = "exec"\nname = "e"\nstart = "../../x"'),
        ["resource.e.start", '".."'],
    ),
    "the name of all groups": (TWO + '[[group]]\nname = "All Groups"\n', ["group.All Groups.name"]),
    "a management group": (
        TWO + '[[group]]\nname = "g"\ntype = "cluster"\n',
        ["group.g.type", "no management group"],
    ),
    "unknown monitor": (TWO + '[[monitor]]\ntype = "ipv"\n', ["monitor.ipv.type", "mean ipw?"]),
    "active without target": (
        TWO + '[[monitor]]\ntype = "userw"\ntiming = "active"\n',
        ["monitor.userw.timing", "needs target"],
    ),
    "forced stop without BMC": (
        TWO + '[forced_stop]\naction = "reset"\n',
        ["forced_stop.action", "no server has a BMC"],
    ),
    "a time-out below the heartbeats": (
        TWO + "[cluster]\nheartbeat_interval = 2\n",
        ["heartbeat_timeout (3 s)", "heartbeat_interval is 2 s"],
    ),
    "a lease below the heartbeats": (
        TWO + "[cluster]\nlease = 0.4\n",
        ["cluster.lease", "lease (0.4 s)", "heartbeat_interval is 0.2 s", "Write lease = 1.6"],
    ),
    "an arbiter slower than the lease": (
        TWO + '[[np]]\ntype = "ping"\ntargets = ["10.0.0.9"]\ntimeout = 3\n',
        [
            "np.ping.timeout",
            "interval (1 s) and timeout (3 s)",
            "lease (3 s)",
            "write lease = 4.1 or more",
        ],
    ),
    "a watchdog too coarse": (
        THREE + '[cluster]\nself_stop = 2\n[[monitor]]\ntype = "userw"\nmethod = "softdog"\n',
        ["cluster.self_stop", "softdog", "whole seconds"],
    ),
    "required for another arbiter": (
        TWO + '[[np]]\ntype = "ping"\ntargets = ["10.0.0.9"]\nrequired = true\n',
        ["np.ping.required", "unknown key"],
    ),
    "a disk that one server lacks": (
        TWO + '[[np]]\ntype = "disk"\npath = { server1 = "/dev/sdb" }\n',
        ["np.disk.path", "none for server2"],
    ),
    "an unknown class of traps": (
        TWO + '[[trap_profile]]\nname = "site"\nrows = { "0Ch/6F/5" = "PREDICTED" }\n',
        ["trap_profile.site.rows.0Ch/6F/5", "must be one of"],
    ),
    "a row with an OID that begins with a dot": (
        TWO + '[[trap_profile]]\nname = "site"\nrows = { "oid .1.3.6.1.4.1.232.0.1" = "FATAL" }\n',
        ["trap_profile.site.rows.oid .1.3.6", "is no row"],
    ),
    "a row that matches nothing": (
        TWO + '[[trap_profile]]\nname = "site"\nmeanings = { "0Dh/*/2" = "a drive" }\n',
        ["trap_profile.site.meanings.0Dh/*/2", "matches nothing"],
    ),
    "a maker beside an OID": (
        TWO + '[[trap_profile]]\nname = "site"\nmanufacturer = 674\n'
        'rows = { "oid 1.3.6.1.4.1.674.1" = "FATAL" }\n',
        ["trap_profile.site.rows.oid 1.3.6.1.4.1.674.1", "does not say who made its BMC"],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_is_refused(case: tuple[str, list[str]]) -> None:
    text, parts = case
    found = errors(text)
    assert any(all(part in error for part in parts) for error in found), found


def test_each_fault_has_its_line() -> None:
    text = changed('target = "failover1"', 'target = "failover2"')
    report = read(text).errors[0]
    assert text.split("\n")[report.line - 1].startswith("target")


def test_a_server_without_a_name_is_the_one_error_that_it_is() -> None:
    found = errors(TWO.replace('name = "server1"', 'nmae = "server1"', 1))
    assert ["is missing" in found[0], "unknown key" in found[1], len(found)] == [True, True, 2]


def test_all_faults_come_in_one_run_in_the_order_of_the_file() -> None:
    text = (
        '[cluster]\nport = 0\n[[server]]\nname = "s 1"\n[[server]]\nname = "s2"\n'
        '[[interconnect]]\ntype = "comhb"\n[[group]]\nname = "g"\nstartup = 1\n'
        '[[monitor]]\ntype = "mrw"\nname = "m"\nkeyword = 3\n'
    )
    reports = read(text).errors
    assert [r.line for r in reports] == sorted(r.line for r in reports)
    keys = {r.key for r in reports}
    assert keys >= {
        "cluster.port",
        "server.s 1.name",
        "interconnect.comhb.type",
        "group.g.startup",
        "monitor.m.keyword",
        "monitor.m.category",
    }


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('name = "a"\nport = \n', 2, "invalid value"),
        ("[cluster\n", 1, "column"),
        ('[cluster]\nname = "a\n', 2, "not TOML"),
        ("[cluster]\nport = 1\nport = 2\n", 3, "not TOML"),
        ("a = " + "[" * 5000, 1, "nested too deeply"),
    ],
)
def test_a_syntax_error_is_one_report_on_its_line(text: str, line: int, part: str) -> None:
    (report,) = read(text).errors
    assert (report.line, part in report.message) == (line, True), report
    assert report.hint or "nested" in report.message


def test_more_than_32_servers_are_too_many() -> None:
    servers = "".join(f'[[server]]\nname = "s{i}"\n' for i in range(33))
    assert any("more than 32 servers" in error for error in errors(servers))


def test_no_server_is_no_cluster() -> None:
    assert any("there is no server" in error for error in errors(""))
