if [ "$1" = remove ] && [ -e /opt/nec/clusterpro/.clptools ]; then
    # The links that clpcompat made would lead nowhere.
    clpcompat --remove || true
fi
has_systemd && unit_is_ours || exit 0
case "$1" in
upgrade)
    if systemctl --quiet is-active clpnode.service; then
        suspend_cluster
        systemctl stop clpnode.service
        : >"$NOTES/upgrade-starts"
    fi ;;
remove) systemctl disable --quiet --now clpnode.service clpwitnessd.service || true ;;
esac
