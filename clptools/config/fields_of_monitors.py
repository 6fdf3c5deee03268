"""The tables `[[monitor]]` and below it, and `[alert]`; see `fields`."""

from __future__ import annotations

from functools import partial

from clptools.config.field import (
    BOOLEAN,
    ENDPOINT,
    NAME,
    PATH,
    SCRIPT,
    TEXT,
    Field,
    checked,
    choice,
    integer,
    list_of,
    per_server,
    seconds,
    text,
)
from clptools.config.fields_of_traps import CLASSES
from clptools.config.quiet_window import windows
from clptools.core.model.words import BmcAction, FinalAction, Level, RecoveryStep, Timing

MAX_CATEGORY_BYTES = 32
MAX_KEYWORD_BYTES = 1023

QUIET_WINDOW = checked(windows, "windows")
"""Times of the day, with commas."""

_monitor = partial(Field, section="monitor")

MONITOR = (
    _monitor(name="name", parse=NAME, help="Name; by default the type and a number."),
    _monitor(name="type", parse=TEXT, required=True, help="Monitor type."),
    _monitor(
        name="servers",
        parse=list_of(NAME, at_least=1),
        help="Servers on which it runs. Default: all.",
    ),
    _monitor(
        name="interval",
        parse=seconds(0.1, 86400),
        default=60,
        help="Time between two checks.",
    ),
    _monitor(
        name="timeout",
        parse=seconds(0.1, 86400),
        default=120,
        help="How long one check may take. A longer check is a failure.",
    ),
    _monitor(
        name="retries",
        parse=integer(0, 1000),
        default=0,
        help="How many failed checks in a row are not yet an error.  A time-out is an error at "
        "once and is not retried.",
    ),
    _monitor(
        name="start_wait",
        parse=seconds(0, 86400),
        default=0,
        help="How long to wait before the first check.",
    ),
    _monitor(
        name="timing",
        parse=choice(*Timing),
        default="always",
        help="Whether it always runs, or only while its target is online on this server. For fipw "
        "and pidw with a target the default is active.",
    ),
    _monitor(
        name="target",
        parse=NAME,
        help="The group or group resource that timing = active follows.",
    ),
    _monitor(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
)

_KEYWORD = text(max_bytes=MAX_KEYWORD_BYTES, what="keyword")

MRW = (
    _monitor(
        name="category",
        parse=text(min_bytes=1, max_bytes=MAX_CATEGORY_BYTES, what="category"),
        required=True,
        help="BMCNOTICE, NIC, FC, HA/SS, HA/AM, HA/RS, SPS, MCE, or a category of your own, of 1 "
        "to 32 bytes.",
    ),
    _monitor(
        name="keyword",
        parse=_KEYWORD,
        help="The device whose messages are taken. Default: any. BMCNOTICE: the address[:port] of "
        "this system to which the BMC sends its traps.",
    ),
    _monitor(
        name="keyword_on",
        parse=per_server(_KEYWORD),
        help="Keywords of single servers, instead of keyword.",
    ),
    _monitor(
        name="stall_on_predictive_failure",
        parse=BOOLEAN,
        default=False,
        help="Set the monitor to Stall when the BMC reports that a failure is likely.",
    ),
    _monitor(
        name="stall_on_performance_down",
        parse=BOOLEAN,
        default=False,
        help="Set the monitor to Stall when the BMC reports reduced performance.",
    ),
    _monitor(
        name="prepare_on_stall",
        parse=BOOLEAN,
        default=False,
        help="When a failure is likely, plan a move of the recovery's target. The next server is "
        "prepared at once (prepare of exec resources), and the target moves in the next "
        "quiet_window.",
    ),
    _monitor(
        name="quiet_window",
        parse=QUIET_WINDOW,
        help="When planned moves may begin, in the local time of the servers: 02:00-04:00 every "
        "day (also over midnight), or Sat 02:00-06:00 on one day. Separate several windows by "
        "commas. The clocks of all servers must agree that the window is open.",
    ),
    _monitor(
        name="recover_on",
        parse=list_of(choice(*CLASSES[:5])),
        default=("FATAL",),
        help="Classes of hardware events that set the monitor to Error and start its recovery.",
    ),
    _monitor(
        name="community",
        parse=list_of(text(min_bytes=1, max_bytes=255)),
        help="SNMP v1 and v2c communities whose traps are accepted. Default: public, or none if "
        "there are SNMPv3 users.",
    ),
)
"""Keys of message receive monitors alone."""

_user = partial(Field, section="monitor.snmpv3_user")

SNMP_USER = (
    _user(
        name="user",
        parse=NAME,
        required=True,
        help="USM user name; its pass phrases are in snmp/USER: clpbmccnf --snmp USER.",
    ),
    _user(
        name="auth_protocol",
        parse=choice("md5", "sha", "sha224", "sha256", "sha384", "sha512"),
        default="sha256",
        help="Authentication protocol.",
    ),
    _user(
        name="priv_protocol",
        parse=choice("aes", "aes192", "aes256", "des", "none"),
        default="aes",
        help="Privacy protocol.",
    ),
)

_recovery = partial(Field, section="monitor.recovery")


_STEPS = (
    _recovery(
        name="action",
        parse=choice(*RecoveryStep),
        default="final",
        help="The first step of the recovery.",
    ),
    _recovery(
        name="target",
        parse=TEXT,
        default="",
        help='A group, a group resource, or "All Groups".  While it is not online, no step is '
        "done, not even the final action. With action = final, target is only this condition.",
    ),
    _recovery(
        name="script",
        parse=SCRIPT,
        default="",
        help="The script of action = script, under scripts/monitor.s/MONITOR/.",
    ),
    _recovery(
        name="restart_count",
        parse=integer(0, 1000),
        default=3,
        help="Restarts of the target within the window.",
    ),
    _recovery(
        name="failover_count",
        parse=integer(0, 1000),
        default=1,
        help="Failovers of the target within the window.",
    ),
    _recovery(
        name="window",
        parse=seconds(1),
        default=86400,
        help="Restarts and failovers are counted within this time. A fault that ends by itself "
        "does not reset the counts, because a fault that comes and goes would move groups back and "
        "forth. clpmonctrl -c, clpmonctrl --acknowledge and clprexec --clear reset them.",
    ),
)
_AROUND_STEPS = (
    _recovery(
        name="migrate_before_failover",
        parse=BOOLEAN,
        default=False,
        help="Resources of the target with a migrate script carry their state over before the "
        "failover. A script that fails does not delay the failover.",
    ),
    _recovery(
        name="failover_outside_server_group",
        parse=BOOLEAN,
        default=False,
        help="Fail over to a server outside the present server group (mrw only). If no server "
        "outside can take the group, one inside is chosen.",
    ),
    _recovery(
        name="pre_action_script",
        parse=SCRIPT,
        default="",
        help="Script that runs before each recovery step. It does not run for driver categories "
        "(NIC, FC, HA/*, SPS, MCE), nor before the final action of BMCNOTICE.",
    ),
    _recovery(
        name="after_recovery",
        parse=choice(
            BmcAction.NONE,
            BmcAction.RESET,
            BmcAction.POWER_OFF,
            BmcAction.POWER_CYCLE,
            BmcAction.NMI,
        ),
        default="none",
        help="What the BMC would have done. It is done after a failover.",
    ),
    _recovery(
        name="after_recovery_deadline",
        parse=seconds(5, 6553),
        default=300,
        help="Time after which the BMC does it by itself, if this system hangs during the "
        "recovery.",
    ),
)


RECOVERY = (
    *_STEPS,
    _recovery(
        name="final_action",
        parse=choice(*FinalAction),
        default="none",
        help="Action when restarts and failovers are used up.",
    ),
    *_AROUND_STEPS,
)
"""`[monitor.recovery]`."""

_alert = partial(Field, section="alert")

ALERT = (
    _alert(
        name="level",
        parse=choice(*Level),
        default="ERROR",
        help="The lowest level of alerts that are passed on.",
    ),
    _alert(name="mail_to", parse=list_of(text(min_bytes=3)), help="Mail addresses."),
    _alert(
        name="mail_from",
        parse=TEXT,
        default="clptools",
        help="Sender of the mails. Without a domain, the full name of the sending host is added.",
    ),
    _alert(name="smtp", parse=ENDPOINT, default="127.0.0.1:25", help="The mail relay."),
    _alert(
        name="smtp_tls",
        parse=choice("none", "starttls", "tls"),
        default="none",
        help="Encryption to the relay; its certificate must be valid for its address.",
    ),
    _alert(name="smtp_ca", parse=PATH, help="Certificate authority of the relay (PEM)."),
    _alert(
        name="smtp_user",
        parse=TEXT,
        help="User name for the login at the relay. Only with smtp_tls.",
    ),
    _alert(
        name="smtp_password_file",
        parse=PATH,
        help="File with the password of smtp_user, mode 0400.",
    ),
    _alert(name="snmp_to", parse=list_of(ENDPOINT), help="SNMP trap receivers, port 162."),
    _alert(
        name="snmp_version",
        parse=choice("1", "2c"),
        default="2c",
        help="SNMP version of the traps sent.",
    ),
    _alert(
        name="snmp_community",
        parse=text(min_bytes=1, max_bytes=255),
        default="public",
        help="Community of the traps sent.",
    ),
    _alert(name="script", parse=PATH, help="Executable that is run for each alert."),
)
