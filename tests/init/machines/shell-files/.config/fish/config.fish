if status is-interactive
    alias proxy 'ssh -N -D 1080 pi'
end
function both
    env AUTOSSH_POLL=10 autossh -f -N -L 5001:localhost:5001 pi; and echo up
end
