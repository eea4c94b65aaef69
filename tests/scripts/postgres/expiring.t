# session_max: a notice between two messages, then the end at an idle moment (which the shell sees to).
ready pinned
! expiring
idle yes
> Q 'begin'
U Q 'begin'
< C 'BEGIN' | Z "T"
R C 'BEGIN' | Z "T"
cmd query ok BEGIN - rows=0 bytes=0 t=CZ text=begin
! expiring
R N 'SNOTICE' 'VNOTICE' 'C00000' 'Mthe session has reached session_max (3600 s): it ends when it is idle, at the latest in 60 s' 'Hcommit or roll back, then connect again' x:00
idle no
> Q 'commit'
U Q 'commit'
< C 'COMMIT' | Z "I"
R C 'COMMIT' | Z "I"
cmd query ok COMMIT - rows=0 bytes=0 t=CZ text=commit
idle yes
! kill EEXPIRED
R error FATAL 57P01
close EEXPIRED
