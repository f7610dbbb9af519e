# Functions for scripts that work in a Debian tree of their own. A script sources this file, and defines `say`.
# shellcheck shell=bash

# Print the address of a mirror of Debian: $MIRROR, or one that this machine's apt uses.
mirror() {
    [ -z "${MIRROR-}" ] || { echo "$MIRROR" && return; }
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 == "main" && $3 !~ /security/ { print $3; exit }' | grep . && return
    say "apt on this machine has no mirror of Debian. Set one: MIRROR=http://… $0"
    return 1
}

# Create the tree of a suite, unless it is there.
base() { # suite tree
    local suite=$1 tree=$2 from
    [ ! -d "$tree" ] || return 0
    if ! command -v debootstrap >/dev/null; then
        say "\`debootstrap\` is missing. Install it: sudo apt-get install debootstrap"
        return 1
    fi
    from=$(mirror)
    say "creating the tree of $suite, once"
    rm -rf "$tree.part"
    debootstrap --variant=minbase "$suite" "$tree.part" "$from" >"$tree.log" || {
        tail -n 3 "$tree.log" >&2
        return 1
    }
    mv "$tree.part" "$tree"
}

# The environment variables that say where pip gets packages and TLS gets certificates.
settings() { env | grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|REQUESTS_CA_BUNDLE)=' || true; }

# Make the paths in these settings and in pip's files available in the tree: mount folders, copy files.
copy_settings() { # tree
    local tree=$1 word
    : >"$tree/srv/package-directories"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$tree/etc/"
    # The lists of a mirror that is a snapshot may have expired. Accept them if this machine does.
    apt-config dump Acquire::Check-Valid-Until >"$tree/etc/apt/apt.conf.d/expired-lists" 2>/dev/null || true
    # Certificate authorities that were added on this machine. ca-certificates adds them when it is installed.
    mkdir -p "$tree/usr/local/share/ca-certificates"
    cp --recursive /usr/local/share/ca-certificates/. "$tree/usr/local/share/ca-certificates/" 2>/dev/null || true
    { settings && python3 -m pip config list 2>/dev/null; } | grep -oE "(file://)?/[^' ]+" | sort -u |
        while read -r word; do
            case $word in file://*) word=$(dirname "${word#file://}") ;; esac # an index refers to files beside it
            if [ -d "$word" ]; then
                echo "$word" >>"$tree/srv/package-directories"
            elif [ -f "$word" ]; then
                mkdir -p "$tree$(dirname "$word")"
                cp --dereference "$word" "$tree$word"
            fi
        done
}
