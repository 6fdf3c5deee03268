if [ -e "${CLP_ROOT:-}/etc/clptools" ] && [ ! -d "${CLP_ROOT:-}/etc/clptools" ]; then
    say "/etc/clptools is a file, and has to be a folder: move it away, then install again."
    exit 1
fi
