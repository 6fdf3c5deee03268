if [ "$1" = purge ]; then
    rm -rf /etc/clptools /var/lib/clptools /var/log/clptools /var/cache/clptools
fi
if [ "$1" = remove ] || [ "$1" = purge ]; then
    loaded=/etc/modules-load.d/clptools.conf
    if [ -L "$loaded" ] && [ ! -e "$loaded" ]; then
        rm -f "$loaded"
    fi
fi
! has_systemd || systemctl daemon-reload || true
