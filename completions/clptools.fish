# Made by python -m clptools.cli.generate; do not edit.
# Install it in a folder of $fish_complete_path.

function __clptools_place
    # Whether so many words stand before; options are none, nor values of those that are named.
    set -l place 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            contains -- $word $argv[2..-1]; and set skip 1
        else
            set place (math $place + 1)
        end
    end
    test $place = $argv[1]
end

complete -c clpbackup -f
complete -c clpbackup -l pre -d 'Before the images.'
complete -c clpbackup -l post -d 'After them.'
complete -c clpbackup -l no-shutdown -d 'Nothing is shut down.'
complete -c clpbackup -l no-reboot -d 'Nothing is rebooted.'
complete -c clpbackup -l only-shutdown -d 'Nothing is shut down.'
complete -c clpbackup -l only-reboot -d 'Nothing is rebooted.'
complete -c clpbackup -l online -d 'Nothing is done.'
complete -c clpbackup -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpbackup -l help -d 'Show a summary and exit.'
complete -c clpbackup -l version -d 'Show the version and exit.'

complete -c clpbmccnf -f
complete -c clpbmccnf -a '(clpstat --complete server 2>/dev/null)'
complete -c clpbmccnf -s u -l user -x -d 'The BMC\'s user; it must be the one in clp.toml.'
complete -c clpbmccnf -s p -l password -x -d 'Refused: everybody on the server can read the arguments of a command.'
complete -c clpbmccnf -l new -d 'SERVER is not in the configuration yet.'
complete -c clpbmccnf -l alerts -d 'Check the BMC\'s alerts, and set them.'
complete -c clpbmccnf -l check -d 'With --alerts: only check.'
complete -c clpbmccnf -l yes -d 'With --alerts: set them without asking.'
complete -c clpbmccnf -l snmp -x -d 'Store the pass phrases of this SNMPv3 user.'
complete -c clpbmccnf -l certificate -d 'Show the certificate of the BMC, for Redfish.'
complete -c clpbmccnf -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpbmccnf -l help -d 'Show a summary and exit.'
complete -c clpbmccnf -l version -d 'Show the version and exit.'

complete -c clpbwctrl -f
complete -c clpbwctrl -s c -l cancel -d 'As in the original. It is refused while the server waits.'
complete -c clpbwctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpbwctrl -l help -d 'Show a summary and exit.'
complete -c clpbwctrl -l version -d 'Show the version and exit.'

complete -c clpcfadm -f
complete -c clpcfadm -n '__clptools_place 0 -t --tag -s --set -x --dir' -a 'add mod'
complete -c clpcfadm -s t -l tag -x -d 'With mod: the parameter to set.'
complete -c clpcfadm -s s -l set -x -d 'The new value. -set also works.'
complete -c clpcfadm -l nocheck -d 'Accepted for old scripts; the configuration is still checked.'
complete -c clpcfadm -s x -l dir -r -F -d 'The folder of clp.toml and scripts/.'
complete -c clpcfadm -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcfadm -l help -d 'Show a summary and exit.'
complete -c clpcfadm -l version -d 'Show the version and exit.'

complete -c clpcfchk -f
complete -c clpcfchk -a '(__fish_complete_path (commandline -ct))'
complete -c clpcfchk -s i -l input -r -F -d 'Check clp.toml in this folder.'
complete -c clpcfchk -s o -l output -r -F -d 'Also write cfchk_result.csv in this folder, with one line for each report: level, file, line, key, text and remedy. The original does not define these columns; they are those of clptools.'
complete -c clpcfchk -l strict -d 'Exit code 9 if the configuration is unsafe or there are warnings.'
complete -c clpcfchk -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcfchk -l help -d 'Show a summary and exit.'
complete -c clpcfchk -l version -d 'Show the version and exit.'

complete -c clpcfctrl -f
complete -c clpcfctrl -n '__fish_contains_opt diff' -a '(clpstat --complete revision 2>/dev/null)'
complete -c clpcfctrl -n '__fish_contains_opt rollback' -a '(clpstat --complete revision 2>/dev/null)'
complete -c clpcfctrl -l push -d 'Distribute the configuration in DIR (/etc/clptools).'
complete -c clpcfctrl -l pull -d 'Write the configuration in force into DIR (the current folder).'
complete -c clpcfctrl -l compcheck -d 'Compare every server with the configuration in DIR.'
complete -c clpcfctrl -l history -d 'List the configurations that were in force.'
complete -c clpcfctrl -l diff -d 'Show the differences between N and M, between N and the one in force, or between that one and DIR.'
complete -c clpcfctrl -l rollback -d 'Put configuration N in force again; if it is in force, only write its files.'
complete -c clpcfctrl -l without -x -a '(clpstat --complete server 2>/dev/null)' -d 'Push although this server is not reached; you answer for it.'
complete -c clpcfctrl -l import -r -F -d 'Translate this file, or the clp.conf of this folder.'
complete -c clpcfctrl -l merge -d 'With --import: change only what differs in the existing clp.toml.'
complete -c clpcfctrl -l export -r -F -d 'Write the configuration in DIR as this file.'
complete -c clpcfctrl -l keygen -d 'Make the authkey, the secret that all servers share.'
complete -c clpcfctrl -l for -x -d 'With --keygen: derive from the authkey the secret of a program on another machine, and write it beside the authkey as authkey.PROGRAM. PROGRAM is clprexec (requests, scripts and notices) or witness (clpwitnessd). The secret opens nothing else, and is valid as long as the authkey is.'
complete -c clpcfctrl -s x -l dir -r -F -d 'The folder.'
complete -c clpcfctrl -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Accepted for old scripts. --push gives the configuration to all its servers, and --pull fetches the one that is in force on all. HOST must be one of the servers. HOST is its name or one of its addresses.'
complete -c clpcfctrl -s p -l port -x -d 'Accepted for old scripts.'
complete -c clpcfctrl -s l -l linux -d 'Accepted for old scripts; there is one format.'
complete -c clpcfctrl -s w -l windows -d 'Accepted for old scripts; there is one format.'
complete -c clpcfctrl -l nocheck -d 'Accepted for old scripts; the configuration is still checked.'
complete -c clpcfctrl -s f -l force -d 'Do it even if the present state speaks against it.'
complete -c clpcfctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcfctrl -l help -d 'Show a summary and exit.'
complete -c clpcfctrl -l version -d 'Show the version and exit.'

complete -c clpcfget -f
complete -c clpcfget -s e -l entries -x -d 'Print names.'
complete -c clpcfget -s g -l get -x -d 'Print a value.'
complete -c clpcfget -s x -l dir -r -F -d 'Read clp.toml in this folder instead.'
complete -c clpcfget -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcfget -l help -d 'Show a summary and exit.'
complete -c clpcfget -l version -d 'Show the version and exit.'

complete -c clpcfset -f
complete -c clpcfset -n '__clptools_place 0 -x --dir --file' -a 'wizard create add set unset del rename move show'
complete -c clpcfset -n 'not __clptools_place 0 -x --dir --file' -a '(clpstat --complete line (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
complete -c clpcfset -s x -l dir -r -F -d 'The folder of clp.toml and scripts/.'
complete -c clpcfset -l file -r -F -d 'The file itself.'
complete -c clpcfset -s f -l force -d 'Do it even if the present state speaks against it.'
complete -c clpcfset -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcfset -l help -d 'Show a summary and exit.'
complete -c clpcfset -l version -d 'Show the version and exit.'

complete -c clpcl -f
complete -c clpcl -s s -l start -d 'Start the cluster service.'
complete -c clpcl -s t -l stop -d 'Stop the cluster service.'
complete -c clpcl -s r -l restart -d 'Stop it, then start it.'
complete -c clpcl -l suspend -d 'Suspend the cluster: all its servers.'
complete -c clpcl -l resume -d 'Resume a suspended cluster.'
complete -c clpcl -s a -l all -d 'On all servers.'
complete -c clpcl -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Carry it out on this server instead of the local one. HOST is its name or one of its addresses.'
complete -c clpcl -l agent -d 'With -t: end the node agent of this server, too.'
complete -c clpcl -l ib -d 'With -r, accepted for old scripts: nothing is restarted.'
complete -c clpcl -l web -d 'The same.'
complete -c clpcl -l alert -d 'The same.'
complete -c clpcl -l api -d 'The same.'
complete -c clpcl -l md -d 'Accepted for old scripts: there is no mirror agent.'
complete -c clpcl -l force -d 'Suspend even though a server does not answer.'
complete -c clpcl -s w -l wait -x -d 'Wait this long until it is done.'
complete -c clpcl -l apito -x -d 'Wait this long for an answer of the node agent, like -w.'
complete -c clpcl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcl -l help -d 'Show a summary and exit.'
complete -c clpcl -l version -d 'Show the version and exit.'

complete -c clpcompat -f
complete -c clpcompat -l install -d 'Make them. Files that already exist stay.'
complete -c clpcompat -l remove -d 'Remove them.'
complete -c clpcompat -l refresh -d 'Write etc/clp.conf again.'
complete -c clpcompat -l show -d 'Say whether they exist.'
complete -c clpcompat -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcompat -l help -d 'Show a summary and exit.'
complete -c clpcompat -l version -d 'Show the version and exit.'

complete -c clpcpufreq -f
complete -c clpcpufreq -l high -d 'Full frequency.'
complete -c clpcpufreq -l low -d 'Lower the frequency, to save power.'
complete -c clpcpufreq -s i -l auto -d 'Leave the frequency to the cluster.'
complete -c clpcpufreq -s s -l show -d 'Show the frequency.'
complete -c clpcpufreq -s h -l host -x -d 'On this server.'
complete -c clpcpufreq -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpcpufreq -l help -d 'Show a summary and exit.'
complete -c clpcpufreq -l version -d 'Show the version and exit.'

complete -c clpdemo -f
complete -c clpdemo -l keep -d 'Keep the folder: configuration, logs, journals.'
complete -c clpdemo -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpdemo -l help -d 'Show a summary and exit.'
complete -c clpdemo -l version -d 'Show the version and exit.'

complete -c clpdown -f
complete -c clpdown -s r -l reboot -d 'Reboot it instead.'
complete -c clpdown -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Shut this server down instead of the local one. HOST is its name or one of its addresses.'
complete -c clpdown -s w -l wait -x -d 'Wait this long until it is done.'
complete -c clpdown -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpdown -l help -d 'Show a summary and exit.'
complete -c clpdown -l version -d 'Show the version and exit.'

complete -c clpencrypt -f
complete -c clpencrypt -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpencrypt -l help -d 'Show a summary and exit.'
complete -c clpencrypt -l version -d 'Show the version and exit.'

complete -c clpfencepeer -f
complete -c clpfencepeer -s r -l resource -x -a '(clpstat --complete resource 2>/dev/null)' -d 'The group resource that mirrors the data.'
complete -c clpfencepeer -l peer -x -a '(clpstat --complete server 2>/dev/null)' -d 'The server that was lost.'
complete -c clpfencepeer -l clear -d 'The copy on this server is in sync again.'
complete -c clpfencepeer -l clear-peer -d 'The copy on the peer is in sync again.'
complete -c clpfencepeer -s f -l force -d 'With --clear or --clear-peer: do it whatever DRBD says of the copy.'
complete -c clpfencepeer -s w -l wait -x -d 'Wait this long for proof (120).'
complete -c clpfencepeer -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpfencepeer -l help -d 'Show a summary and exit.'
complete -c clpfencepeer -l version -d 'Show the version and exit.'

complete -c clpforcestop -f
complete -c clpforcestop -a '(clpstat --complete server 2>/dev/null)'
complete -c clpforcestop -l yes -d 'Confirm that the server shall lose power.'
complete -c clpforcestop -s w -l wait -x -d 'Wait this long until it is done.'
complete -c clpforcestop -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpforcestop -l help -d 'Show a summary and exit.'
complete -c clpforcestop -l version -d 'Show the version and exit.'

complete -c clpfwctrl -f
complete -c clpfwctrl -l add -d 'Open them.'
complete -c clpfwctrl -l remove -d 'Undo --add.'
complete -c clpfwctrl -l dry-run -d 'Only show the steps.'
complete -c clpfwctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpfwctrl -l help -d 'Show a summary and exit.'
complete -c clpfwctrl -l version -d 'Show the version and exit.'

complete -c clpgrp -f
complete -c clpgrp -a '(clpstat --complete group 2>/dev/null)'
complete -c clpgrp -s s -l start -d 'Start GROUP on HOST, or on the first suitable server in its order.'
complete -c clpgrp -s t -l stop -d 'Stop GROUP. It stays stopped until it is started again.'
complete -c clpgrp -s m -l move -d 'Move GROUP to DEST, or to the next server in its order.'
complete -c clpgrp -s l -l migrate -d 'Refused. In the original it migrates the virtual machine of a group; clptools has no such groups. Resources with migrate carry their state over by themselves.'
complete -c clpgrp -l cancel -d 'Cancel the planned move of GROUP (prepare_on_stall). It is not planned again for the same hardware event.'
complete -c clpgrp -s n -l where -d 'Print the name of the server on which it is active, or nothing.'
complete -c clpgrp -s a -l to -x -a '(clpstat --complete server 2>/dev/null)' -d 'The server to move it to.'
complete -c clpgrp -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Start it on this server; stop or move groups that run on this server. Refused if GROUP runs on another server. HOST is its name or one of its addresses.'
complete -c clpgrp -s f -l force -d 'Do it even if the present state speaks against it.'
complete -c clpgrp -l apito -x -d 'Wait this long for an answer of the node agent, like -w.'
complete -c clpgrp -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpgrp -l help -d 'Show a summary and exit.'
complete -c clpgrp -l version -d 'Show the version and exit.'

complete -c clphealthchk -f
complete -c clphealthchk -s t -l type -x -a 'pm rc rm nm' -d 'Show only this one.'
complete -c clphealthchk -l timeout -x -d 'If an agent has not answered by then, it is not alive (5).'
complete -c clphealthchk -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clphealthchk -l help -d 'Show a summary and exit.'
complete -c clphealthchk -l version -d 'Show the version and exit.'

complete -c clplcnsc -f
complete -c clplcnsc -a '(__fish_complete_path (commandline -ct))'
complete -c clplcnsc -s i -l register -d 'Nothing is registered.'
complete -c clplcnsc -s l -l list -d 'Nothing is listed.'
complete -c clplcnsc -s d -l delete -d 'Nothing is deleted.'
complete -c clplcnsc -l distribute -d 'Nothing is distributed.'
complete -c clplcnsc -s a -l all -d 'Accepted for old scripts.'
complete -c clplcnsc -s p -l product -x -d 'Accepted for old scripts.'
complete -c clplcnsc -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clplcnsc -l help -d 'Show a summary and exit.'
complete -c clplcnsc -l version -d 'Show the version and exit.'

complete -c clpledctrl -f
complete -c clpledctrl -s i -l identify -d 'Switch the LED on.'
complete -c clpledctrl -s d -l dark -d 'Switch the LED off.'
complete -c clpledctrl -s a -l all -d 'The LEDs of all servers.'
complete -c clpledctrl -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'The LED of this server instead of the local one. HOST is its name or one of its addresses.'
complete -c clpledctrl -s w -l wait -x -d 'Wait this long for each BMC (10).'
complete -c clpledctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpledctrl -l help -d 'Show a summary and exit.'
complete -c clpledctrl -l version -d 'Show the version and exit.'

complete -c clplogcc -f
complete -c clplogcc -s o -l output -r -F -d 'Where to write (the current folder).'
complete -c clplogcc -s l -l local -d 'This server only.'
complete -c clplogcc -s n -l server -x -a '(clpstat --complete server 2>/dev/null)' -d 'This server only; may be given again.'
complete -c clplogcc -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'The same for one server. HOST is its name or one of its addresses.'
complete -c clplogcc -s t -l type -x -d 'Accepted for old scripts; everything is packed.'
complete -c clplogcc -s r -l rotations -x -d 'Accepted for old scripts.'
complete -c clplogcc -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clplogcc -l help -d 'Show a summary and exit.'
complete -c clplogcc -l version -d 'Show the version and exit.'

complete -c clplogcf -f
complete -c clplogcf -s t -l type -x -d 'Accepted for old scripts.'
complete -c clplogcf -s l -l level -x -d 'Accepted for old scripts.'
complete -c clplogcf -s s -l size -x -d 'Accepted for old scripts.'
complete -c clplogcf -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clplogcf -l help -d 'Show a summary and exit.'
complete -c clplogcf -l version -d 'Show the version and exit.'

complete -c clplogcmd -f
complete -c clplogcmd -s m -l message -x -d 'The message, up to 511 bytes.'
complete -c clplogcmd -s l -l level -x -a 'INFO WARN ERROR' -d 'INFO, WARN or ERROR (default INFO). The first letters are enough, in upper or lower case.'
complete -c clplogcmd -s i -l id -x -d 'Number of the message, 1 to 65535 (default 1).'
complete -c clplogcmd -l alert -d 'Accepted for old scripts: the message always goes there.'
complete -c clplogcmd -l mail -d 'Accepted for old scripts: [alert] says what is mailed.'
complete -c clplogcmd -l trap -d 'Accepted for old scripts: [alert] says what is sent.'
complete -c clplogcmd -l syslog -d 'Accepted for old scripts: the message always goes there.'
complete -c clplogcmd -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clplogcmd -l help -d 'Show a summary and exit.'
complete -c clplogcmd -l version -d 'Show the version and exit.'

complete -c clpmdctrl -f
complete -c clpmdctrl -s a -l active -d 'Activate one.'
complete -c clpmdctrl -s d -l deactive -d 'Deactivate one.'
complete -c clpmdctrl -s b -l break -d 'Break one.'
complete -c clpmdctrl -s f -l force -d 'Recover one by force.'
complete -c clpmdctrl -s r -l recovery -d 'Recover one.'
complete -c clpmdctrl -l rwait -d 'Wait for a recovery.'
complete -c clpmdctrl -l resize -d 'Resize one.'
complete -c clpmdctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpmdctrl -l help -d 'Show a summary and exit.'
complete -c clpmdctrl -l version -d 'Show the version and exit.'

complete -c clpmdstat -f
complete -c clpmdstat -s l -l list -d 'List mirror disks: there are none.'
complete -c clpmdstat -s m -l mirror -d 'Show the state of a mirror disk: there is none.'
complete -c clpmdstat -s a -l active -d 'The same.'
complete -c clpmdstat -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpmdstat -l help -d 'Show a summary and exit.'
complete -c clpmdstat -l version -d 'Show the version and exit.'

complete -c clpmonctrl -f
complete -c clpmonctrl -a '(clpstat --complete monitor 2>/dev/null)'
complete -c clpmonctrl -s s -l suspend -d 'Suspend monitoring.'
complete -c clpmonctrl -s r -l resume -d 'Resume monitoring.'
complete -c clpmonctrl -s c -l clear -d 'Set the counters of recovery actions to zero.'
complete -c clpmonctrl -s v -l counters -d 'Show the counters of recovery actions.'
complete -c clpmonctrl -s e -l dummy-on -d 'Turn on a dummy failure: the monitor reports an error.'
complete -c clpmonctrl -s n -l dummy-off -d 'Turn the dummy failure off.'
complete -c clpmonctrl -l acknowledge -d 'Close open hardware events of a message receive monitor.'
complete -c clpmonctrl -s m -l monitor -x -a '(clpstat --complete monitor 2>/dev/null)' -d 'A monitor.'
complete -c clpmonctrl -l event -x -d 'Close only this event (clpstat --hw).'
complete -c clpmonctrl -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Carry it out on this server instead of the local one. HOST is its name or one of its addresses.'
complete -c clpmonctrl -s w -l wait -x -d 'Wait this long for it (5).'
complete -c clpmonctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpmonctrl -l help -d 'Show a summary and exit.'
complete -c clpmonctrl -l version -d 'Show the version and exit.'

complete -c clpmsg -f
complete -c clpmsg -l recovered -d 'The error is over.'
complete -c clpmsg -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpmsg -l help -d 'Show a summary and exit.'
complete -c clpmsg -l version -d 'Show the version and exit.'

complete -c clpnode -f
complete -c clpnode -n '__clptools_place 0' -a 'confirm-down'
complete -c clpnode -n '__clptools_place 1' -a '(clpstat --complete server 2>/dev/null)'
complete -c clpnode -l yes -d 'With confirm-down: you have made sure.'
complete -c clpnode -l force -d 'With confirm-down: also if its BMC or refused datagrams are signs that it is up. This is recorded.'
complete -c clpnode -l json -d 'With confirm-down: one JSON object instead of text.'
complete -c clpnode -l help -d 'Show a summary and exit.'
complete -c clpnode -l version -d 'Show the version and exit.'

complete -c clpperfc -f
complete -c clpperfc -n 'not __fish_contains_opt group' -a '(clpstat --complete group 2>/dev/null)'
complete -c clpperfc -n '__fish_contains_opt group' -a '(clpstat --complete group 2>/dev/null)'
complete -c clpperfc -l starttime -d 'How long GROUP took to start.'
complete -c clpperfc -l stoptime -d 'How long GROUP took to stop.'
complete -c clpperfc -s g -l group -d 'For groups.'
complete -c clpperfc -s m -l monitor -x -a '(clpstat --complete monitor 2>/dev/null)' -d 'How long the newest check took.'
complete -c clpperfc -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpperfc -l help -d 'Show a summary and exit.'
complete -c clpperfc -l version -d 'Show the version and exit.'

complete -c clpperfchk -f
complete -c clpperfchk -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpperfchk -l help -d 'Show a summary and exit.'
complete -c clpperfchk -l version -d 'Show the version and exit.'

complete -c clpregctrl -f
complete -c clpregctrl -s g -l get -d 'Show the counts of this server.'
complete -c clpregctrl -s c -l clear -d 'Start a count again.'
complete -c clpregctrl -s t -l type -x -d 'rc: of resources; rm: of monitors.'
complete -c clpregctrl -s r -l registry -x -d 'haltcount is the only name.'
complete -c clpregctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpregctrl -l help -d 'Show a summary and exit.'
complete -c clpregctrl -l version -d 'Show the version and exit.'

complete -c clpreplay -f
complete -c clpreplay -a '(__fish_complete_path (commandline -ct))'
complete -c clpreplay -l all -d 'Show every event and every action, heartbeats and timers too.'
complete -c clpreplay -l with-config -x -d 'Tell what this configuration would have done.'
complete -c clpreplay -l from -x -d 'Begin here: 03:12:06, \'yesterday 03:12\', -2h.'
complete -c clpreplay -l to -x -d 'End here.'
complete -c clpreplay -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpreplay -l help -d 'Show a summary and exit.'
complete -c clpreplay -l version -d 'Show the version and exit.'

complete -c clprestore -f
complete -c clprestore -l pre -d 'Before the images.'
complete -c clprestore -l post -d 'After them.'
complete -c clprestore -l no-shutdown -d 'Nothing is shut down.'
complete -c clprestore -l no-reboot -d 'Nothing is rebooted.'
complete -c clprestore -l only-shutdown -d 'Nothing is shut down.'
complete -c clprestore -l only-reboot -d 'Nothing is rebooted.'
complete -c clprestore -l online -d 'Nothing is done.'
complete -c clprestore -l skip-copy -d 'Nothing is copied.'
complete -c clprestore -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clprestore -l help -d 'Show a summary and exit.'
complete -c clprestore -l version -d 'Show the version and exit.'

complete -c clprexec -f
complete -c clprexec -n 'not __fish_contains_opt script notice clear' -a '(clpstat --complete group 2>/dev/null)'
complete -c clprexec -n '__fish_contains_opt script' -a '(__fish_complete_path (commandline -ct))'
complete -c clprexec -n '__fish_contains_opt notice' -a '(clpstat --complete monitor 2>/dev/null)'
complete -c clprexec -n '__fish_contains_opt clear' -a '(clpstat --complete monitor 2>/dev/null)'
complete -c clprexec -l failover -d 'Fail over GROUP, or the group of RESOURCE.'
complete -c clprexec -l script -d 'Run the script FILE.'
complete -c clprexec -l notice -d 'Report an error.'
complete -c clprexec -l clear -d 'Withdraw an error.'
complete -c clprexec -s r -l resource -x -a '(clpstat --complete resource 2>/dev/null)' -d 'With --failover: fail over the group with this resource.'
complete -c clprexec -s k -l keyword -x -d 'What the notice is about.'
complete -c clprexec -s h -l host -x -d 'Servers to ask, in this order (up to 32): addresses, names of this cluster\'s servers, or other names that this host can resolve.'
complete -c clprexec -s p -l port -x -d 'Their port; by default that of this server\'s configuration, or 29002.'
complete -c clprexec -l key -r -F -d 'A file of clpcfctrl --keygen --for clprexec, or the cluster\'s authkey; mode 0400 or 0600.'
complete -c clprexec -s w -l wait -x -d 'Wait this long for an answer (30).'
complete -c clprexec -s o -l log -r -F -d 'Append each request, the server asked, and the result to this file.'
complete -c clprexec -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clprexec -l help -d 'Show a summary and exit.'
complete -c clprexec -l version -d 'Show the version and exit.'

complete -c clproset -f
complete -c clproset -s o -l read-only -d 'Make the partition read-only.'
complete -c clproset -s w -l writable -d 'Make the partition writable.'
complete -c clproset -s s -l show -d 'Show whether it is read-only or writable.'
complete -c clproset -s d -l device -x -d 'This partition.'
complete -c clproset -s r -l resource -x -d 'The partition of this group resource.'
complete -c clproset -s t -l type -x -d 'With -r: its type.'
complete -c clproset -s a -l all -d 'All partitions.'
complete -c clproset -l lvm -x -d 'This volume group.'
complete -c clproset -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clproset -l help -d 'Show a summary and exit.'
complete -c clproset -l version -d 'Show the version and exit.'

complete -c clprsc -f
complete -c clprsc -a '(clpstat --complete resource 2>/dev/null)'
complete -c clprsc -s s -l start -d 'Start RESOURCE.'
complete -c clprsc -s t -l stop -d 'Stop RESOURCE.'
complete -c clprsc -s n -l where -d 'Print the name of the server on which it is active, or nothing.'
complete -c clprsc -s v -l counter -d 'Show the failover counter; without RESOURCE, of all resources.'
complete -c clprsc -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'The server on which its group is active. Refused if the group is active elsewhere. HOST is its name or one of its addresses.'
complete -c clprsc -s f -l force -d 'With -s, also start what it depends on. With -t, also stop what depends on it.'
complete -c clprsc -l apito -x -d 'Wait this long for an answer of the node agent, like -w.'
complete -c clprsc -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clprsc -l help -d 'Show a summary and exit.'
complete -c clprsc -l version -d 'Show the version and exit.'

complete -c clpsim -f
complete -c clpsim -l config -r -F -d 'Simulate this configuration.'
complete -c clpsim -l sample -x -d 'Simulate a sample cluster: 3bmc, 5lease, ..., large; `KEY=VALUE` words may follow, as in scenarios: \'3lease fence=polled\'.'
complete -c clpsim -l seed -x -d 'Run only this seed.'
complete -c clpsim -l seeds -x -d 'Run the seeds from A to B.'
complete -c clpsim -l hours -x -d 'Simulated hours of each run.'
complete -c clpsim -l faults -x -d 'all, mild, beyond (faults that no rule survives), or kinds of faults, separated by commas.'
complete -c clpsim -l jobs -x -d 'With --seeds or --systematic: processes to use.'
complete -c clpsim -l deep -d 'Also check records, ledger and replay (slower).'
complete -c clpsim -l explain -d 'With --seed: print the whole story; with --shrink, that of the shorter schedule.'
complete -c clpsim -l shrink -d 'With --seed: find a shorter schedule that breaks the same promise.'
complete -c clpsim -l systematic -d 'Every fault at every place of every story.'
complete -c clpsim -l pairs -d 'With --systematic: every two faults of a short list instead.'
complete -c clpsim -l most -x -d 'With --systematic: about N schedules of each cluster, spread evenly.'
complete -c clpsim -l stories -x -d 'With --systematic: only these stories.'
complete -c clpsim -l play -r -F -d 'Play a scenario; - is standard input.'
complete -c clpsim -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpsim -l help -d 'Show a summary and exit.'
complete -c clpsim -l version -d 'Show the version and exit.'

complete -c clpstat -f
complete -c clpstat -a '(clpstat --complete any 2>/dev/null)'
complete -c clpstat -s s -d 'Show the status. This is the default.'
complete -c clpstat -l long -d 'Show names in wide columns and do not cut them.'
complete -c clpstat -l local -d 'Accepted for old scripts. The command always shows what this server knows, and asks no other server.'
complete -c clpstat -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Show what this server sees. HOST is its name or one of its addresses.'
complete -c clpstat -s g -d 'Show the map of groups.'
complete -c clpstat -s m -d 'Show each monitor resource on each server.'
complete -c clpstat -s n -d 'Show which server hears which, by heartbeat resource.'
complete -c clpstat -s p -d 'Show NP resolution resources on each server.'
complete -c clpstat -s f -d 'Show the same as -p, and whether each server\'s BMC answers, which a forced stop needs.'
complete -c clpstat -s i -d 'Show the whole configuration.'
complete -c clpstat -l cl -d 'Show the configuration of the cluster itself.'
complete -c clpstat -l sv -d 'Show the configuration of servers, or of the one called NAME.'
complete -c clpstat -l hb -d 'Show the configuration of heartbeat resources.'
complete -c clpstat -l np -d 'Show the configuration of NP resolution resources.'
complete -c clpstat -l fnc -d 'Show the configuration of NP resolution resources and of the forced stop.'
complete -c clpstat -l svg -d 'Show the configuration of server groups.'
complete -c clpstat -l grp -d 'Show the configuration of groups.'
complete -c clpstat -l rsc -d 'Show the configuration of group resources.'
complete -c clpstat -l mon -d 'Show the configuration of monitor resources.'
complete -c clpstat -l xcl -d 'Show which groups are kept apart. Each rule has the name of its group.'
complete -c clpstat -l detail -d 'Show more: keys that are rarely needed, and what a group waits for.'
complete -c clpstat -l explain -d 'Explain the state of a group, resource, monitor, server or heartbeat.'
complete -c clpstat -l watch -d 'Show a live screen until q is pressed.'
complete -c clpstat -l events -d 'Write the recorded events of the cluster, oldest first.'
complete -c clpstat -l since -x -d 'Only events after the event with this cursor.'
complete -c clpstat -l follow -d 'Keep writing events as they come.'
complete -c clpstat -l at -x -d 'With --explain: explain the state at that time.'
complete -c clpstat -l from -x -d 'Begin here, with --events or --graph.'
complete -c clpstat -l to -x -d 'End here.'
complete -c clpstat -l level -x -a 'INFO WARN ERROR' -d 'Only events of this level (INFO, WARN, ERROR) or above.'
complete -c clpstat -l of -x -a '(clpstat --complete any 2>/dev/null)' -d 'Only events about this object.'
complete -c clpstat -l text -d 'Write events as text, also into a pipe.'
complete -c clpstat -l graph -d 'Draw the time line of an incident.'
complete -c clpstat -l html -d 'Write the present state as a page for a browser.'
complete -c clpstat -s o -l output -r -F -d 'The file that --graph and --html write.'
complete -c clpstat -l metrics -d 'Write all figures as Prometheus text.'
complete -c clpstat -l check -d 'Answer as a monitoring plug-in.'
complete -c clpstat -s w -x -d 'With --check: servers that may be away before WARNING.'
complete -c clpstat -s c -x -d 'With --check: servers that may be away before CRITICAL.'
complete -c clpstat -l hw -d 'Show open hardware events and trap counters of each server.'
complete -c clpstat -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpstat -l help -d 'Show a summary and exit.'
complete -c clpstat -l version -d 'Show the version and exit.'

complete -c clpstdn -f
complete -c clpstdn -s r -l reboot -d 'Reboot them instead.'
complete -c clpstdn -s w -l wait -x -d 'Wait this long until it is done.'
complete -c clpstdn -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpstdn -l help -d 'Show a summary and exit.'
complete -c clpstdn -l version -d 'Show the version and exit.'

complete -c clpsvcctrl -f
complete -c clpsvcctrl -a 'core mgr'
complete -c clpsvcctrl -l enable -d 'Let the node agent start with this host.'
complete -c clpsvcctrl -l disable -d 'Do not start it with this host, until it is enabled again.'
complete -c clpsvcctrl -s a -l all -d 'All services.'
complete -c clpsvcctrl -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpsvcctrl -l help -d 'Show a summary and exit.'
complete -c clpsvcctrl -l version -d 'Show the version and exit.'

complete -c clptoratio -f
complete -c clptoratio -s r -l ratio -x -d 'How many times as long: 1 to 10000.'
complete -c clptoratio -s t -l time -x -d 'For how long: minutes (m), hours (h) or days (d), 1m to 30d.'
complete -c clptoratio -s i -l initialize -d 'Go back to the configured time-outs, as with -r 1.'
complete -c clptoratio -s s -l show -d 'Show the present ratio, when it ends, and who set it.'
complete -c clptoratio -s w -l wait -x -d 'Wait this long for it (30).'
complete -c clptoratio -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clptoratio -l help -d 'Show a summary and exit.'
complete -c clptoratio -l version -d 'Show the version and exit.'

complete -c clptrap -f
complete -c clptrap -a 'decode test FATAL ERROR PREDICT PERFORMANCE REDUNDANCY INFO'
complete -c clptrap -l specific -x -d 'The specific-trap number of a PET.'
complete -c clptrap -l octets -x -d 'The octets of its variable.'
complete -c clptrap -l pcap -r -F -d 'Every trap of a packet capture.'
complete -c clptrap -l config -r -F -d 'Use this configuration instead of this server\'s.'
complete -c clptrap -l through-bmc -d 'The BMC of SERVER itself sends the trap.'
complete -c clptrap -l to -x -a '(clpstat --complete server 2>/dev/null)' -d 'Where a rehearsal trap goes.'
complete -c clptrap -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clptrap -l help -d 'Show a summary and exit.'
complete -c clptrap -l version -d 'Show the version and exit.'

complete -c clptrnreq -f
complete -c clptrnreq -s t -l type -x -a 'GRP_FAILOVER EXEC_SCRIPT' -d 'GRP_FAILOVER or EXEC_SCRIPT.'
complete -c clptrnreq -s h -l host -x -a '(clpstat --complete server 2>/dev/null)' -d 'Servers to ask (up to 32), by name or address.'
complete -c clptrnreq -s r -l resource -x -a '(clpstat --complete resource 2>/dev/null)' -d 'A resource of the group to fail over.'
complete -c clptrnreq -s s -l script -r -F -d 'The script\'s name.'
complete -c clptrnreq -s p -l port -x -d 'Their port; by default that of this server\'s configuration, or 29002.'
complete -c clptrnreq -l key -r -F -d 'The cluster\'s authkey; by default this server\'s.'
complete -c clptrnreq -s w -l wait -x -d 'Wait this long for each (30).'
complete -c clptrnreq -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clptrnreq -l help -d 'Show a summary and exit.'
complete -c clptrnreq -l version -d 'Show the version and exit.'

complete -c clpwait -f
complete -c clpwait -l until -x -d 'What to wait for.'
complete -c clpwait -l timeout -x -d 'Wait at most this long.'
complete -c clpwait -l json -d 'Print one JSON object instead of text, errors too.'
complete -c clpwait -l help -d 'Show a summary and exit.'
complete -c clpwait -l version -d 'Show the version and exit.'

complete -c clpwitnessd -f
complete -c clpwitnessd -l listen -x -d 'Address at which it answers (default 0.0.0.0:29003).'
complete -c clpwitnessd -l authkey -r -F -d 'A cluster\'s key, mode 0400; may be repeated.'
complete -c clpwitnessd -l cert -r -F -d 'Certificate (PEM). With it, the server answers only https.'
complete -c clpwitnessd -l key -r -F -d 'Key of the certificate (PEM).'
complete -c clpwitnessd -l longest-lease -x -d 'Longer leases are not granted (default 10).'
complete -c clpwitnessd -l help -d 'Show a summary and exit.'
complete -c clpwitnessd -l version -d 'Show the version and exit.'
