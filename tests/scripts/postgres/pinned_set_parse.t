ready pinned
> P '' 'set client_encoding = latin1' i16:0 | B '' '' i16:0 i16:0 i16:0 | E '' i32:0 | S
R error FATAL 0A000 'client_encoding is pinned: the statement was not sent'
close EFEATURE
