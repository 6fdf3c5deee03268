if [ "$1" = 0 ]; then
    loaded=/etc/modules-load.d/clptools.conf
    if [ -L "$loaded" ] && [ ! -e "$loaded" ]; then
        rm -f "$loaded"
    fi
fi
! has_systemd || systemctl daemon-reload || true
