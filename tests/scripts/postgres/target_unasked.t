# An answer that nobody asked for.
ready pinned
< C 'SELECT 1'
fact target_violation an answer came that no request was waiting for
R error FATAL 08P01 'protocol violation by the target'
close EUPSTREAM
