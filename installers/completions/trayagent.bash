# Completion of trayagent for bash. The program itself computes the candidates.
# shellcheck shell=bash

_trayagent() {
    local line current before words offers offer split
    # Not COMP_WORDS: bash splits those at each : and @, which names of hosts may contain.
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
    # bash replaces only the text after the last character that splits words.
    split=${current##*["${COMP_WORDBREAKS//[[:space:]]/}"]}
    before=${current%"$split"}
    for offer in ${offers[@]+"${offers[@]}"}; do
        offer=${offer%%$'\t'*}
        printf -v offer %q "${offer#"$before"}"
        COMPREPLY+=("$offer")
    done
}

complete -F _trayagent trayagent
