#!/usr/bin/env bash
# Install, upgrade or remove trayagent for this user. No root needed.
#
# Usage: installers/linux/install.sh [--no-login]    install, or upgrade
#        installers/linux/install.sh --uninstall
#
# You may run it again at any time. The next run completes or removes what an interrupted run left.
set -euo pipefail
installers=$(cd "$(dirname "$0")/.." && pwd)

case ${1-} in
    -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
esac
if [ "$(uname -s)" != Linux ]; then
    echo "install.sh: this is the installer for Linux; on a Mac run installers/macos/install.sh" >&2
    exit 1
fi
if [ "${1-}" != --uninstall ] && ! command -v ssh >/dev/null; then
    echo "install.sh: ssh is missing, and trayagent cannot work without it." >&2
    if command -v apt-get >/dev/null; then
        echo "  Install it: sudo apt-get install openssh-client" >&2
    else
        echo "  Install OpenSSH's client with the system's package manager." >&2
    fi
    exit 1
fi
python=$("$installers/find-python" install.sh)
exec "$python" "$installers/user_install.py" "$@"
