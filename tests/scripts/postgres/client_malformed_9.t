# Malformed: nothing of it reaches the target (bug 5).
ready open
> X i8:0
fact client_violation malformed Terminate
R error FATAL 08P01
close EPROTO
