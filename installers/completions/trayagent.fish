# Completion of trayagent for fish. The program itself computes the candidates.

function __trayagent_offers
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l current (commandline -ct)
    set -l offers ($program complete -- $words "$current" 2>/dev/null)
    if test "$offers[1]" = :files
        __fish_complete_path "$current"
    else
        string join \n -- $offers
    end
end

complete -c trayagent -f -a '(__trayagent_offers)'
