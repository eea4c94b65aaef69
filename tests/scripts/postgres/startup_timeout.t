open
> raw x:00
! timer
R error FATAL 57014
close ETIMEOUT
