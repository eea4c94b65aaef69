# bug 5: lengths outside 8..10000.
open
> raw i32:7
fact client_violation invalid length of startup packet
R error FATAL 08P01
close EPROTO
