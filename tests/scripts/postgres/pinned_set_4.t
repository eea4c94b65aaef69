ready pinned
> Q "set local " x:22 "client_encoding" x:22 " = e'latin1'" x:00 | Q 'insert'
R error FATAL 0A000 'client_encoding is pinned: the statement was not sent'
close EFEATURE
