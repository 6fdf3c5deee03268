# $1: how many versions of the package are installed now.
systemd-sysusers clptools.conf
systemd-tmpfiles --create clptools.conf
if [ "$1" = 1 ]; then
    systemctl enable --quiet clpnode.service 2>/dev/null || true
fi
has_systemd || exit 0
systemctl daemon-reload
unit_is_ours || tell_of_other_unit
# Only now: rpm runs nothing when it fails to unpack, and would leave a stopped agent so.
if [ "$1" -ge 2 ] && unit_is_ours && systemctl --quiet is-active clpnode.service; then
    suspend_cluster
    systemctl stop clpnode.service
    start_agent
    resume_cluster
fi
