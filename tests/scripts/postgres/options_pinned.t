# bug 3: settings out of `options` are read here and said anew; quoting and spellings.
open
> ssl
R raw "S"
tls client
! tls client
> start 3.0 user shop options '-c statement_timeout=5s --search-path=a\ b -cjit=off -c client-encoding=utf-8' client_encoding 'SQL_ASCII' DateStyle ISO TimeZone UTC application_name x
R R i32:3
> p 'x'
admit shop role= database= hint= app=x proof=x
! granted pinned disable
U start 3.0 user app database shop statement_timeout 5s search_path 'a b' jit off datestyle ISO timezone UTC client_encoding UTF8 application_name 'x hansard:k7m2-9xqe'
