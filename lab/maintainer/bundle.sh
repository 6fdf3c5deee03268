#!/bin/sh
# clptools @VERSION@ in one file, for servers without a way to any registry.  As root:
#   sh @NAME@                 installs it, or upgrades to it
#   sh @NAME@ --downgrade     also if a newer one is installed
#   sh @NAME@ --extract DIR   only unpacks the packages that it carries
set -eu
umask 022

fail() {
    echo "@NAME@: $*" >&2
    exit 1
}

payload() { tail -n "+@LINES@" "$0"; }

usage() {
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    exit "$1"
}

mode=install
case "${1:-}" in
"") ;;
--downgrade) mode=downgrade ;;
--extract) [ $# = 2 ] && mode=extract || usage 2 ;;
-h | --help) usage 0 ;;
*) usage 2 ;;
esac

found=$(payload | sha256sum)
[ "${found%% *}" = @SHA256@ ] || fail "the file is damaged or was cut short: copy it again."

if [ "$mode" = extract ]; then
    mkdir -p "$2"
    payload | tar -x -C "$2"
    exit 0
fi

[ "$(id -u)" = 0 ] || fail "only root installs packages."
[ "$(uname -m)" = x86_64 ] || fail "it is for x86_64, and this is $(uname -m)."
free=$(df -Pk /usr | awk 'NR == 2 { print $4 }')
[ "$free" -ge @KILOBYTES@ ] || fail "/usr has $free kB free, @KILOBYTES@ are needed: nothing was changed."

work=$(mktemp -d "${TMPDIR:-/var/tmp}/clptools.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
payload | tar -x -C "$work"

if command -v apt-get >/dev/null; then
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts"
    echo "deb [trusted=yes] file:$work/debs ./" >"$work/sources.list"
    # apt sees nothing but what is in here: it takes from it what this server lacks.
    apt() {
        DEBIAN_FRONTEND=noninteractive apt-get -q -q \
            -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
            -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" \
            -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \
            -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@"
    }
    # apt would remember these as the lists of this server.
    old=""
    [ "$mode" = install ] || old=--allow-downgrades
    apt update
    apt install -y --no-remove $old clptools=@DEB_VERSION@ ||
        fail "not installed.  It is for Debian 12, with what its installer puts on a server."
elif command -v rpm >/dev/null; then
    old=""
    [ "$mode" = install ] || old=--oldpackage
    rpm -U --replacepkgs $old "$work"/rpm/clptools-*.rpm ||
        fail "not installed.  What it requires comes from the distribution: dnf install python3.11 iproute"
else
    fail "neither apt-get nor rpm is here: pip install is the way (README.md)."
fi

echo "clptools @VERSION@ is installed; next: /usr/share/doc/clptools/README.md, Five minutes to a cluster"
exit 0
