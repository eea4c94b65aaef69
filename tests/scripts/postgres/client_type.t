# An unknown type is refused by its first byte; what stood before it was forwarded.
ready pinned
> S | raw "y"
U S
fact client_violation unknown message type
R error FATAL 08P01 'protocol violation by the client'
close EPROTO
