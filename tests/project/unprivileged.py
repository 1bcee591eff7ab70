"""``-m project.unprivileged MODULE …``: as a process that file modes apply to, also when it is root's."""

import os
import sys

if __name__ == "__main__":
    command = [sys.executable, "-m", *sys.argv[1:]]
    if os.geteuid() == 0:
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
    os.execvp(command[0], command)
