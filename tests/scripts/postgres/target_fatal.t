# bug 29: the target has said why: no second error.
ready pinned
< error FATAL 57P01 'terminating connection due to administrator command'
R error FATAL 57P01 terminating
! closed target
close 0
