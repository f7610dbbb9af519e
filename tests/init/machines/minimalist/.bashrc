alias web='ssh -N -L 8080:localhost:80 box'
