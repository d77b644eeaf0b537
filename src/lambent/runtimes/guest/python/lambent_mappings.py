"""What a process has mapped, as the kernel tells it."""

import re

FIRST_ADDRESS, LAST_ADDRESS = 0x10000, 0x7FFF_FFFF_F000  # that a program can have mapped
KERNELS = ("[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]")  # names of what the kernel itself maps

_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)\n")


class Mapping:
    """A line of /proc/…/smaps with what follows it."""

    def __init__(self, match):
        self.start, self.end, self.offset = (int(match[n], 16) for n in (1, 2, 4))
        self.rights = sum(bit for bit, letter in ((1, "r"), (2, "w"), (4, "x")) if letter in match[3])
        self.has_file = match[6] != "0"
        self.name = match[7]
        self.flags = ()
        self.own_kib = 0  # in memory or swapped out, and not the file's

    @property
    def is_library(self):
        """Code, or constants of one: a file's, and not to be written."""
        return self.has_file and not self.rights & 2 and self.name.startswith("/")

    @property
    def key(self):
        return self.start, self.end, self.rights, self.offset, self.name


def mappings(pid="self", detailed=True):
    """The mappings of a process, in order."""
    found = []
    with open(f"/proc/{pid}/{'smaps' if detailed else 'maps'}", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            match = _LINE.match(line)
            if match:
                found.append(Mapping(match))
                continue
            name, _, value = line.partition(":")
            if name == "VmFlags":
                found[-1].flags = value.split()
            elif name in ("Anonymous", "Swap"):
                found[-1].own_kib += int(value.split()[0])
    return found
