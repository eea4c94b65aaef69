# Without ALPN the end comes behind the handshake, without a word.
open
> raw x:16
tls client direct
! tls client
fact client_violation direct TLS without ALPN
close EPROTO
