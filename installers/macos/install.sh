#!/usr/bin/env bash
# Install trayagent for this user on macOS, bring it up to date, or remove it. No root needed.
#
# Usage: installers/macos/install.sh [--no-login]    install, or upgrade
#        installers/macos/install.sh --uninstall
#
# It may be repeated; what an interrupted run left is completed or cleared away by the next one.
# Written for a Mac, and run on Linux only, with `uname` and `launchctl` played by scripts.
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
# macOS brings ssh along, so it is not looked for; its Python is too old, so that is.
python=$("$installers/find-python" install.sh)
exec "$python" "$installers/user_install.py" "$@"
