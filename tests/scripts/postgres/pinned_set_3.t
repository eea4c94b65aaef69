ready pinned
> Q 'set standard_conforming_strings = off' | Q 'insert'
R error FATAL 0A000 'standard_conforming_strings is pinned: the statement was not sent'
close EFEATURE
