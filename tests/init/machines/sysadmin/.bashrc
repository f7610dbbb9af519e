alias socks='autossh -M 0 -f -N -D 1080 lyon-bastion'
