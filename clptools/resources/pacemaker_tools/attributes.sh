# Attributes of this server, for the commands beside this file: one file each, until the next boot.

folder="${CLP_ROOT:-}/run/clptools/attributes"
me="${CLP_NODE:-$(uname -n)}"
no_such=105 # CRM_EX_NOSUCH

refuse() {
    echo "$(basename "$0"): clptools stands in for this command of Pacemaker, and $1" >&2
    exit 1
}

# Both names may stand for this server: agents that find no Pacemaker take that of the host.
only_here() {
    case "$1" in
    "" | "$me" | "$(uname -n)" | localhost) ;;
    *) refuse "knows no attributes of $1" ;;
    esac
}

named() {
    case "$1" in
    "" | */* | .*) refuse "has no attribute of the name \"$1\"" ;;
    esac
}

put() {
    mkdir -p "$folder" && printf '%s\n' "$2" >"$folder/.$1.$$" && mv "$folder/.$1.$$" "$folder/$1"
}

get() {
    cat "$folder/$1" 2>/dev/null
}

take_out() {
    rm -f "$folder/$1"
}
