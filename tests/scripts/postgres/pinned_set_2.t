ready pinned
> Q "select pg_catalog.set_config('Client_Encoding', 'gbk', false)" x:00 | Q 'insert'
R error FATAL 0A000 'client_encoding is pinned: the statement was not sent'
close EFEATURE
