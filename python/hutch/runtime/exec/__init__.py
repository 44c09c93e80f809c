"""Commands: started, watched, ended, remembered.

Belongs here: the service (`commands`) and what it is made of. Banned here: HTTP.

From the bottom up: `modes` says what a command is run as, `launch` starts it, by
`hutch.runtime.processes`; `supervise` reads its `output`, feeds its `stdin` and awaits its end;
`task` is what is known of it, `registry` who is remembered and for how long, `journal` and
`revival` carry that over a restart; `answers` and `events` are what leaves.
"""
