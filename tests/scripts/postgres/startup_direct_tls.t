# sslnegotiation=direct: a TLS alert, no_application_protocol.
open
> raw x:160301 
R raw x:15030300020278
close EFEATURE
