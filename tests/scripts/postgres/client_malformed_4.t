# Malformed: nothing of it reaches the target (bug 5).
ready open
> D i8:88 'x'
fact client_violation malformed Describe
R error FATAL 08P01
close EPROTO
