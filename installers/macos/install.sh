#!/usr/bin/env bash
# Install, upgrade or remove trayagent for this user on macOS. No root needed.
#
# Usage: installers/macos/install.sh [--no-login]    install, or upgrade
#        installers/macos/install.sh --uninstall
#
# You may run it again at any time. The next run completes or removes what an interrupted run left.
# This script has never run on a Mac. It was tested on Linux, with scripts in place of `uname` and `launchctl`.
set -euo pipefail
installers=$(cd "$(dirname "$0")/.." && pwd)

case ${1-} in
    -h | --help)
        sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
esac
if [ "$(uname -s)" != Darwin ]; then
    echo "install.sh: this is the installer for macOS; on Linux run installers/linux/install.sh" >&2
    exit 1
fi
# macOS has ssh, so there is no check for it. Its Python is too old, so another one is needed.
python=$("$installers/find-python" install.sh)
exec "$python" "$installers/user_install.py" "$@"
