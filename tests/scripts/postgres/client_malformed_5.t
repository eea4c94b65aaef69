# Malformed: nothing of it reaches the target (bug 5).
ready open
> C i8:83 "x"
fact client_violation malformed Close
R error FATAL 08P01
close EPROTO
