ready pinned
> p 'x'
fact client_violation message is not legal in this phase
R error FATAL 08P01
close EPROTO
