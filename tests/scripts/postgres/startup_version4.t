open
> start 4.0 user shop
R error FATAL 0A000 'unsupported frontend protocol'
close EVERSION
