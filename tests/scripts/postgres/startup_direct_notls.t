# A listener without TLS: an alert, handshake_failure.
open notls
> raw x:16
R raw x:15030300020228
close EFEATURE
