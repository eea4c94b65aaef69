# Malformed: nothing of it reaches the target (bug 5).
ready open
> E 'x' i16:1
fact client_violation malformed Execute
R error FATAL 08P01
close EPROTO
