alias mail-preview='ssh -N -L 8025:localhost:8025 staging'
alias logs='ssh production tail -f /var/log/app.log'
