open
> raw "GET "
fact client_violation invalid length of startup packet
R error FATAL 08P01
close EPROTO
