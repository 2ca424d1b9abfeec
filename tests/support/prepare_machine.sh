#!/bin/sh
# Check what a virtual environment needs, and install it with apt-get where we may.
# Usage: prepare_machine.sh PYTHON [PROGRAM[=DEBIAN_PACKAGE] ...]   (without a package: of the program's name)
set -eu
python=$1
shift

if ! command -v "$python" >/dev/null 2>&1; then
    echo "There is no $python here: install Python 3.11 or later (Debian: apt-get install python3 python3-venv)." >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$("$python" -V) is too old: tornado_multi needs Python 3.11 or later; choose one with make PYTHON=..." >&2
    exit 1
fi
if [ "$("$python" -c 'import sys; print(sys.platform)')" != linux ]; then
    echo "tornado_multi runs on Linux only." >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv >/dev/null
    else
        echo "Python's venv module is missing: install it first (Debian: apt-get install python3-venv)." >&2
        exit 1
    fi
fi

PATH=$PATH:/usr/sbin:/sbin # where users have no look, but nginx is
find_postgresql() { # Debian keeps its programs apart, for each version
    for directory in /usr/lib/postgresql/*/bin; do PATH=$PATH:$directory; done
}
find_postgresql
for wanted in "$@"; do
    program=${wanted%%=*}
    package=${wanted#*=}
    if ! command -v "$program" >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            policy=/usr/sbin/policy-rc.d
            if [ ! -e "$policy" ]; then # a server is wanted as a program: Debian shall not start it
                trap 'rm -f "$policy"' EXIT
                printf '#!/bin/sh\nexit 101\n' >"$policy"
                chmod +x "$policy"
            fi
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y "$package" >/dev/null
            find_postgresql
        else
            echo "The program $program is missing: install it first (Debian: apt-get install $package)." >&2
            exit 1
        fi
        if ! command -v "$program" >/dev/null 2>&1; then
            echo "The package $package is installed, but there is still no program $program." >&2
            exit 1
        fi
    fi
done
