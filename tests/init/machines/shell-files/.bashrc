# It's mine; don't touch
export EDITOR=vi
DEVPORTS='-L 3000:localhost:3000 -L 9229:localhost:9229'
alias ll='ls -l'
alias dev="ssh dev"
alias devtunnel="ssh -fN $DEVPORTS dev"
alias work='autossh -M 0 -t dev "tmux new-session -A -s main"'

pitunnel() {
    # the Pi's web page, and a shell on us
    autossh -M 20000 -N \
        -L 8081:localhost:80 \
        -R '*:2222:localhost:22' "$@" pi
}

anyhost() { ssh -N -L 8000:localhost:8000 "$1"; }
function killtunnel { pkill -f "ssh -fN"; }
