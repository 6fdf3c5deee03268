# What deb and rpm do around an upgrade; in front of each of their scripts.  POSIX sh.

OURS=/lib/systemd/system/clpnode.service
NOTES=${CLP_ROOT:-}/run/clptools

say() { echo "clptools: $*" >&2; }

has_systemd() { [ -d "${CLP_ROOT:-}/run/systemd/system" ]; }

# Whether the unit that systemd knows is the package's: one in /etc or /usr/local comes first.
unit_is_ours() {
    case $(systemctl show -P FragmentPath clpnode.service 2>/dev/null) in
    "" | "$OURS" | "/usr$OURS") return 0 ;;
    *) return 1 ;;
    esac
}

tell_of_other_unit() {
    unit=$(systemctl show -P FragmentPath clpnode.service 2>/dev/null)
    runs=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit" 2>/dev/null | tail -n 1)
    say "$unit is not the package's: clpnode still runs from ${runs:-elsewhere}."
    say "It goes on undisturbed.  To change over, without moving a group:"
    say "  clpcl --suspend && systemctl stop clpnode && rm $unit && systemctl daemon-reload &&"
    say "  systemctl enable --now clpnode; until clpcl --resume; do sleep 2; done"
    say "Then remove the links in /usr/local/bin: they would come first in PATH."
}

# With the cluster suspended an agent leaves its groups as they are and finds them again, so an
# upgrade moves nothing.  A cluster that its operator suspended stays so afterwards.
suspend_cluster() {
    mkdir -p "$NOTES"
    if clpstat --json 2>/dev/null | grep -q '"suspended": *false'; then
        if clpcl --suspend >/dev/null 2>&1; then
            : >"$NOTES/upgrade-resumes"
        else
            say "the cluster could not be suspended: groups of this server may move."
        fi
    fi
}

resume_cluster() {
    [ -e "$NOTES/upgrade-resumes" ] || return 0
    rm -f "$NOTES/upgrade-resumes"
    # It has to hear the others first.
    for second in $(seq "${CLP_RESUME_S:-60}"); do
        ! clpcl --resume >/dev/null 2>&1 || return 0
        sleep 1
    done
    say "the cluster is still suspended; nothing fails over until: clpcl --resume"
}

start_agent() {
    systemctl start clpnode.service && return 0
    say "clpnode does not start: systemctl status clpnode; clpcfchk"
}
