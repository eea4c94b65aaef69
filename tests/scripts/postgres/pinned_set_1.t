ready pinned
> Q "set names 'sjis'" x:00 | Q 'insert'
R error FATAL 0A000 'client_encoding is pinned: the statement was not sent'
close EFEATURE
