# Made by python -m clptools.cli.generate; do not edit.
# Source it, or install it as clptools in bash-completion's folder.

_clptools_line() {
    # bash splits words at = and : (COMP_WORDBREAKS) and wants back what follows the last of them.
    local text=${COMP_LINE:0:COMP_POINT} whole='' word start
    local -a typed
    read -ra typed <<<"$text"
    if [[ $text != *[[:space:]] ]]; then
        whole=${typed[-1]}
        unset 'typed[-1]'
    fi
    start=${whole%"${whole##*[=:]}"}
    while IFS= read -r word; do
        [[ $word == "$whole"* ]] && printf '%s\n' "${word#"$start"}"
    done < <("$1" --complete line "${typed[@]:1}" "$whole" 2>/dev/null)
}

_clptools_values() {
    case $1 in
        line) _clptools_line "$2" "$3" ;;
        group|resource|server|monitor|any|revision) compgen -W "$("$2" --complete "$1" 2>/dev/null)" -- "$3" ;;
        file) compgen -f -- "$3" ;;
        directory) compgen -d -- "$3" ;;
        ?*) compgen -W "$1" -- "$3" ;;
    esac
}

_clptools() {
    local command=$1 current=$2 previous=$3 flags='' valued='' more='' value='' line word
    local ask=${command%"${command##*/}"}clpstat place=0 skip=''
    local -a words=() before=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    COMPREPLY=()
    case ${command##*/} in
        clpbackup)
            flags='--pre --post --no-shutdown --no-reboot --only-shutdown --only-reboot --online --json --help --version'
            ;;
        clpbmccnf)
            flags='-u --user -p --password --new --alerts --check --yes --snmp --certificate --json --help --version'
            words=('server')
            valued='-u --user -p --password --snmp'
            case $previous in
                -u|--user) value=' ' ;;
                -p|--password) value=' ' ;;
                --snmp) value=' ' ;;
            esac
            ;;
        clpbwctrl)
            flags='-c --cancel --json --help --version'
            ;;
        clpcfadm)
            flags='-t --tag -s --set --nocheck -x --dir --json --help --version'
            words=('add mod' '')
            more=''
            valued='-t --tag -s --set -x --dir'
            case $previous in
                -t|--tag) value=' ' ;;
                -s|--set) value=' ' ;;
                -x|--dir) value='directory' ;;
            esac
            ;;
        clpcfchk)
            flags='-i --input -o --output --strict --json --help --version'
            words=('file')
            valued='-i --input -o --output'
            case $previous in
                -i|--input) value='directory' ;;
                -o|--output) value='directory' ;;
            esac
            ;;
        clpcfctrl)
            flags='--push --pull --compcheck --history --diff --rollback --without --import --merge --export --keygen --for --name --keyroll --cancel -x --dir -h --host -p --port -l --linux -w --windows --nocheck -f --force --json --help --version'
            case " ${before[*]} " in
                *' --diff '*) words=('revision') ;;
                *' --rollback '*) words=('revision') ;;
            esac
            valued='--without --import --export --for --name -x --dir -h --host -p --port'
            case $previous in
                --without) value='server' ;;
                --import) value='file' ;;
                --export) value='file' ;;
                --for) value=' ' ;;
                --name) value=' ' ;;
                -x|--dir) value='directory' ;;
                -h|--host) value='server' ;;
                -p|--port) value=' ' ;;
            esac
            ;;
        clpcfget)
            flags='-e --entries -g --get -x --dir --json --help --version'
            valued='-e --entries -g --get -x --dir'
            case $previous in
                -e|--entries) value=' ' ;;
                -g|--get) value=' ' ;;
                -x|--dir) value='directory' ;;
            esac
            ;;
        clpcfset)
            flags='-x --dir --file -f --force --json --help --version'
            words=('wizard create add set unset del rename move show' 'line')
            more='line'
            valued='-x --dir --file'
            case $previous in
                -x|--dir) value='directory' ;;
                --file) value='file' ;;
            esac
            ;;
        clpcl)
            flags='-s --start -t --stop -r --restart --suspend --resume -a --all -h --host --agent --ib --web --alert --api --md --force -w --wait --apito --json --help --version'
            valued='-h --host -w --wait --apito'
            case $previous in
                -h|--host) value='server' ;;
                -w|--wait) value=' ' ;;
                --apito) value=' ' ;;
            esac
            ;;
        clpcompat)
            flags='--install --remove --refresh --show --json --help --version'
            ;;
        clpcpufreq)
            flags='--high --low -i --auto -s --show -h --host --json --help --version'
            valued='-h --host'
            case $previous in
                -h|--host) value=' ' ;;
            esac
            ;;
        clpdemo)
            flags='--keep --json --help --version'
            ;;
        clpdown)
            flags='-r --reboot -h --host -w --wait --json --help --version'
            valued='-h --host -w --wait'
            case $previous in
                -h|--host) value='server' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpencrypt)
            flags='--json --help --version'
            ;;
        clpfencepeer)
            flags='-r --resource --peer --clear --clear-peer -f --force -w --wait --json --help --version'
            valued='-r --resource --peer -w --wait'
            case $previous in
                -r|--resource) value='resource' ;;
                --peer) value='server' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpforcestop)
            flags='--yes -w --wait --json --help --version'
            words=('server')
            valued='-w --wait'
            case $previous in
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpfwctrl)
            flags='--add --remove --dry-run --json --help --version'
            ;;
        clpgrp)
            flags='-s --start -t --stop -m --move -l --migrate --cancel -n --where -a --to -h --host -f --force --apito --json --help --version'
            words=('group')
            valued='-a --to -h --host --apito'
            case $previous in
                -a|--to) value='server' ;;
                -h|--host) value='server' ;;
                --apito) value=' ' ;;
            esac
            ;;
        clphealthchk)
            flags='-t --type --timeout --json --help --version'
            valued='-t --type --timeout'
            case $previous in
                -t|--type) value='pm rc rm nm' ;;
                --timeout) value=' ' ;;
            esac
            ;;
        clplcnsc)
            flags='-i --register -l --list -d --delete --distribute -a --all -p --product --json --help --version'
            words=('file')
            more='file'
            valued='-p --product'
            case $previous in
                -p|--product) value=' ' ;;
            esac
            ;;
        clpledctrl)
            flags='-i --identify -d --dark -a --all -h --host -w --wait --json --help --version'
            valued='-h --host -w --wait'
            case $previous in
                -h|--host) value='server' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clplogcc)
            flags='-o --output -l --local -n --server -h --host -t --type -r --rotations --json --help --version'
            valued='-o --output -n --server -h --host -t --type -r --rotations'
            case $previous in
                -o|--output) value='directory' ;;
                -n|--server) value='server' ;;
                -h|--host) value='server' ;;
                -t|--type) value=' ' ;;
                -r|--rotations) value=' ' ;;
            esac
            ;;
        clplogcf)
            flags='-t --type -l --level -s --size --json --help --version'
            valued='-t --type -l --level -s --size'
            case $previous in
                -t|--type) value=' ' ;;
                -l|--level) value=' ' ;;
                -s|--size) value=' ' ;;
            esac
            ;;
        clplogcmd)
            flags='-m --message -l --level -i --id --alert --mail --trap --syslog --json --help --version'
            valued='-m --message -l --level -i --id'
            case $previous in
                -m|--message) value=' ' ;;
                -l|--level) value='INFO WARN ERROR' ;;
                -i|--id) value=' ' ;;
            esac
            ;;
        clpmdctrl)
            flags='-a --active -d --deactive -b --break -f --force -r --recovery --rwait --resize --json --help --version'
            ;;
        clpmdstat)
            flags='-l --list -m --mirror -a --active --json --help --version'
            ;;
        clpmonctrl)
            flags='-s --suspend -r --resume -c --clear -v --counters -e --dummy-on -n --dummy-off --acknowledge -m --monitor --event -h --host -w --wait --json --help --version'
            words=('monitor')
            more='monitor'
            valued='-m --monitor --event -h --host -w --wait'
            case $previous in
                -m|--monitor) value='monitor' ;;
                --event) value=' ' ;;
                -h|--host) value='server' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpmsg)
            flags='--recovered --json --help --version'
            ;;
        clpnode)
            flags='--yes --force --json --help --version'
            words=('confirm-down' 'server')
            ;;
        clpperfc)
            flags='--starttime --stoptime -g --group -m --monitor --json --help --version'
            words=('group')
            case " ${before[*]} " in
                *' -g '*|*' --group '*) words=('group') ;;
            esac
            valued='-m --monitor'
            case $previous in
                -m|--monitor) value='monitor' ;;
            esac
            ;;
        clpperfchk)
            flags='--json --help --version'
            ;;
        clpregctrl)
            flags='-g --get -c --clear -t --type -r --registry --json --help --version'
            valued='-t --type -r --registry'
            case $previous in
                -t|--type) value=' ' ;;
                -r|--registry) value=' ' ;;
            esac
            ;;
        clpreplay)
            flags='--all --with-config --from --to --json --help --version'
            words=('file')
            more='file'
            valued='--with-config --from --to'
            case $previous in
                --with-config) value=' ' ;;
                --from) value=' ' ;;
                --to) value=' ' ;;
            esac
            ;;
        clprestore)
            flags='--pre --post --no-shutdown --no-reboot --only-shutdown --only-reboot --online --skip-copy --json --help --version'
            ;;
        clprexec)
            flags='--failover --script --notice --clear -r --resource -k --keyword -h --host -p --port --key -w --wait -o --log --json --help --version'
            words=('group')
            case " ${before[*]} " in
                *' --script '*) words=('file') ;;
                *' --notice '*) words=('monitor') ;;
                *' --clear '*) words=('monitor') ;;
            esac
            valued='-r --resource -k --keyword -h --host -p --port --key -w --wait -o --log'
            case $previous in
                -r|--resource) value='resource' ;;
                -k|--keyword) value=' ' ;;
                -h|--host) value=' ' ;;
                -p|--port) value=' ' ;;
                --key) value='file' ;;
                -w|--wait) value=' ' ;;
                -o|--log) value='file' ;;
            esac
            ;;
        clproset)
            flags='-o --read-only -w --writable -s --show -d --device -r --resource -t --type -a --all --lvm --json --help --version'
            valued='-d --device -r --resource -t --type --lvm'
            case $previous in
                -d|--device) value=' ' ;;
                -r|--resource) value=' ' ;;
                -t|--type) value=' ' ;;
                --lvm) value=' ' ;;
            esac
            ;;
        clprsc)
            flags='-s --start -t --stop -n --where -v --counter -h --host -f --force --apito --json --help --version'
            words=('resource')
            valued='-h --host --apito'
            case $previous in
                -h|--host) value='server' ;;
                --apito) value=' ' ;;
            esac
            ;;
        clpsim)
            flags='--config --sample --seed --seeds --hours --faults --jobs --deep --explain --shrink --systematic --pairs --most --stories --play --json --help --version'
            valued='--config --sample --seed --seeds --hours --faults --jobs --most --stories --play'
            case $previous in
                --config) value='file' ;;
                --sample) value=' ' ;;
                --seed) value=' ' ;;
                --seeds) value=' ' ;;
                --hours) value=' ' ;;
                --faults) value=' ' ;;
                --jobs) value=' ' ;;
                --most) value=' ' ;;
                --stories) value=' ' ;;
                --play) value='file' ;;
            esac
            ;;
        clpstat)
            flags='-s --long --local -h --host -g -m -n -p -f -i --cl --sv --hb --np --fnc --svg --grp --rsc --mon --xcl --detail --explain --watch --events --since --follow --at --from --to --level --of --text --graph --html -o --output --metrics --check -w -c --hw --json --help --version'
            words=('any')
            valued='-h --host --since --at --from --to --level --of -o --output -w -c'
            case $previous in
                -h|--host) value='server' ;;
                --since) value=' ' ;;
                --at) value=' ' ;;
                --from) value=' ' ;;
                --to) value=' ' ;;
                --level) value='INFO WARN ERROR' ;;
                --of) value='any' ;;
                -o|--output) value='file' ;;
                -w) value=' ' ;;
                -c) value=' ' ;;
            esac
            ;;
        clpstdn)
            flags='-r --reboot -w --wait --json --help --version'
            valued='-w --wait'
            case $previous in
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpsvcctrl)
            flags='--enable --disable -a --all --json --help --version'
            words=('core mgr')
            more='core mgr'
            ;;
        clptoratio)
            flags='-r --ratio -t --time -i --initialize -s --show -w --wait --json --help --version'
            valued='-r --ratio -t --time -w --wait'
            case $previous in
                -r|--ratio) value=' ' ;;
                -t|--time) value=' ' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clptrap)
            flags='--specific --octets --pcap --config --through-bmc --to --json --help --version'
            words=('decode test FATAL ERROR PREDICT PERFORMANCE REDUNDANCY INFO')
            more='decode test FATAL ERROR PREDICT PERFORMANCE REDUNDANCY INFO'
            valued='--specific --octets --pcap --config --to'
            case $previous in
                --specific) value=' ' ;;
                --octets) value=' ' ;;
                --pcap) value='file' ;;
                --config) value='file' ;;
                --to) value='server' ;;
            esac
            ;;
        clptrnreq)
            flags='-t --type -h --host -r --resource -s --script -p --port --key -w --wait --json --help --version'
            valued='-t --type -h --host -r --resource -s --script -p --port --key -w --wait'
            case $previous in
                -t|--type) value='GRP_FAILOVER EXEC_SCRIPT' ;;
                -h|--host) value='server' ;;
                -r|--resource) value='resource' ;;
                -s|--script) value='file' ;;
                -p|--port) value=' ' ;;
                --key) value='file' ;;
                -w|--wait) value=' ' ;;
            esac
            ;;
        clpwait)
            flags='--until --timeout --json --help --version'
            valued='--until --timeout'
            case $previous in
                --until) value=' ' ;;
                --timeout) value=' ' ;;
            esac
            ;;
        clpwitnessd)
            flags='--listen --authkey --cert --key --longest-lease --help --version'
            valued='--listen --authkey --cert --key --longest-lease'
            case $previous in
                --listen) value=' ' ;;
                --authkey) value='file' ;;
                --cert) value='file' ;;
                --key) value='file' ;;
                --longest-lease) value=' ' ;;
            esac
            ;;
    esac
    # How many words stand before, options and their values left out.
    for word in "${before[@]}"; do
        if [[ $word == '=' ]]; then
            skip=1
        elif [[ -n $skip ]]; then
            skip=''
        elif [[ $word == -* ]]; then
            [[ " $valued " == *" $word "* ]] && skip=1
        else
            place=$((place + 1))
        fi
    done
    if [[ -z $value && $current == -* ]]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
            compgen -W "$flags" -- "$current")
        return
    fi
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        _clptools_values "${value:-${words[place]-$more}}" "$ask" "$current")
    # A word that goes on.
    [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _clptools clpbackup clpbmccnf clpbwctrl clpcfadm clpcfchk clpcfctrl clpcfget clpcfset clpcl clpcompat clpcpufreq clpdemo clpdown clpencrypt clpfencepeer clpforcestop clpfwctrl clpgrp clphealthchk clplcnsc clpledctrl clplogcc clplogcf clplogcmd clpmdctrl clpmdstat clpmonctrl clpmsg clpnode clpperfc clpperfchk clpregctrl clpreplay clprestore clprexec clproset clprsc clpsim clpstat clpstdn clpsvcctrl clptoratio clptrap clptrnreq clpwait clpwitnessd
