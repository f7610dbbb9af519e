# Completion of trayagent for bash. What to offer is asked of the program itself.
# shellcheck shell=bash

_trayagent() {
    local line current before words offers offer split
    # Not COMP_WORDS: bash splits those at each : and @, which stand in the names of hosts.
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    case $line in *[[:space:]]) words+=("") ;; esac
    current=${words[${#words[@]} - 1]}
    mapfile -t offers < <("${1/#\~\//$HOME/}" complete -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    if [ "${offers[0]-}" = :files ]; then
        compopt -o default
        return
    fi
    # bash replaces what follows the last sign that splits words, and no more.
    split=${current##*["${COMP_WORDBREAKS//[[:space:]]/}"]}
    before=${current%"$split"}
    for offer in ${offers[@]+"${offers[@]}"}; do
        offer=${offer%%$'\t'*}
        printf -v offer %q "${offer#"$before"}"
        COMPREPLY+=("$offer")
    done
}

complete -F _trayagent trayagent
