[ "$1" = 0 ] || exit 0
if [ -e /opt/nec/clusterpro/.clptools ]; then
    # The links that clpcompat made would lead nowhere.
    clpcompat --remove || true
fi
if has_systemd && unit_is_ours; then
    systemctl disable --quiet --now clpnode.service clpwitnessd.service || true
else
    systemctl disable --quiet clpnode.service clpwitnessd.service 2>/dev/null || true
fi
