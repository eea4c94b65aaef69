# Malformed: nothing of it reaches the target (bug 5).
ready open
> H i8:0
fact client_violation malformed Flush
R error FATAL 08P01
close EPROTO
