alias jupyter='ssh -N -L 8889:node17:8888 cluster'
alias put='rsync -av results data:'
