# Direct means first: after GSSENCRequest a TLS record is a packet of a silly length.
open
> gss
R raw "N"
> raw x:16030100
fact client_violation invalid length of startup packet
R error FATAL 08P01 'protocol violation by the client'
close EPROTO
