open
! drain
R error FATAL 57P01
close EDRAIN
