"""A folder of stack/ includes only folders of a lower rank, or itself."""
import unittest

import tree

RANKS = {
    "base": 0, "wire": 1, "packet": 1, "wait": 1, "port": 2, "net": 3, "udp": 4, "socket": 5, "sockfs": 6, "shard": 6,
    "control": 7, "attach": 8, "api": 9, "client": 9,
}
APPS_MAY_USE = {"control", "attach", "api"}
# These play the network as well: they build frames and join two ports by a ring.
APPS_FROM_INSIDE = {"traffic", "upgrade"}


def room_of(name):
    return name.parts[1] if name.parts[0] == "stack" and len(name.parts) > 2 else None


class Layers(unittest.TestCase):
    def check(self, wrong):
        if wrong:
            self.fail("\n" + "\n".join(wrong))

    def test_every_folder_of_the_stack_has_a_rank(self):
        rooms = {room_of(n) for n in tree.cpp_files()} - {None, "include"}
        self.check([f"stack/{r}: not in the list of ranks in {__file__}" for r in sorted(rooms - set(RANKS))])

    def test_folders_include_lower_ranks_only(self):
        wrong = []
        for name in tree.cpp_files():
            room = room_of(name)
            if room not in RANKS:
                continue
            for number, _, path in tree.includes(name):
                other = path.split("/")[0]
                if "/" in path and other in RANKS and other != room and RANKS[other] >= RANKS[room]:
                    wrong.append(f'{name}:{number}: {room} (rank {RANKS[room]}) must not include "{path}" '
                                 f"(rank {RANKS[other]})")
        self.check(wrong)

    def test_own_headers_are_named_from_the_root_of_stack(self):
        wrong = []
        for name in tree.cpp_files():
            if room_of(name) in RANKS:
                for number, quote, path in tree.includes(name):
                    # .in: what meson makes a header from.
                    places = [f"stack/{path}", f"stack/{path}.in", f"stack/include/{path}"]
                    own = any((tree.ROOT / place).exists() for place in places)
                    if quote == '"' and not own and not path.startswith("support/"):
                        wrong.append(f'{name}:{number}: "{path}" is no path below stack/')
        self.check(wrong)

    def test_public_headers_stand_in_include_only(self):
        self.check([f"{n}: .h and .hpp are for public headers, in stack/include/" for n in tree.files()
                    if n.parts[0] == "stack" and n.suffix in (".h", ".hpp") and n.parts[1] != "include"])

    def test_public_headers_include_no_private_ones(self):
        wrong = []
        for name in tree.headers():
            if name.parts[:2] == ("stack", "include"):
                for number, _, path in tree.includes(name):
                    if path.split("/")[0] in RANKS and "/" in path:
                        wrong.append(f"{name}:{number}: a program outside cannot see {path}")
        self.check(wrong)

    def test_apps_use_the_public_api_and_the_control_side(self):
        wrong = []
        for name in tree.cpp_files():
            if name.parts[0] == "apps" and name.parts[1] not in APPS_FROM_INSIDE:
                for number, _, path in tree.includes(name):
                    room = path.split("/")[0]
                    if "/" in path and room in RANKS and room not in APPS_MAY_USE:
                        wrong.append(f"{name}:{number}: an app includes skua's public headers and "
                                     f"{', '.join(sorted(APPS_MAY_USE))}, not {path}")
        self.check(wrong)

    def test_the_client_is_free_of_dpdk(self):
        wrong = []
        for name in tree.cpp_files():
            if room_of(name) == "client":
                wrong += [f"{name}:{number}: {path} is DPDK's" for number, _, path in tree.includes(name)
                          if path.startswith("rte_")]
        self.check(wrong)


if __name__ == "__main__":
    unittest.main()
