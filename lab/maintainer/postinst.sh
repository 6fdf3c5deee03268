case "$1" in
configure)
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers clptools.conf
        systemd-tmpfiles --create clptools.conf
    else
        getent group clptools >/dev/null || groupadd --system clptools
        [ -d /etc/clptools ] || install -d -m 0750 -g clptools /etc/clptools
    fi
    # Enabled, and not started: it starts with the host once there is a key (the unit's condition).
    # Not by an upgrade: an agent that was disabled stays so.
    if [ -e "$NOTES/install-enables" ]; then
        rm -f "$NOTES/install-enables"
        systemctl enable --quiet clpnode.service 2>/dev/null || true
    fi ;;
abort-upgrade | abort-remove | abort-deconfigure) ;;
*) exit 0 ;;
esac

has_systemd || exit 0
systemctl daemon-reload
unit_is_ours || tell_of_other_unit
if [ -e "$NOTES/upgrade-starts" ]; then
    rm -f "$NOTES/upgrade-starts"
    start_agent
fi
resume_cluster
