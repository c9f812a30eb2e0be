"""A short run of the herd: its figures are there, and the right number of waiters wakes on all sides."""
import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

MODES = ("epoll", "exclusive", "lock", "reuseport")
SIDES = ("kernel", os.environ["SKUA_HERD_SIDE"])
WAITERS = (1, 4)


class Herd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="skua-herd-") as scratch:
            report = pathlib.Path(scratch) / "herd.json"
            subprocess.run([os.environ["SKUA_HERD"], "--seconds", "0.5", "--waiters", ",".join(map(str, WAITERS)),
                            "--json", report], check=True, stdin=subprocess.DEVNULL, timeout=100)
            cls.report = json.loads(report.read_text())
        cls.cases = {(c["side"], c["mode"], c["waiters"]): c for c in cls.report["herd"]}

    def each(self, modes=MODES):
        """(what to call it, case) of each case of these modes."""
        for key in itertools.product(SIDES, modes, WAITERS):
            yield "{}, {}, {} waiters".format(*key), self.cases[key]

    def test_every_case_is_there_once(self):
        self.assertEqual(sorted(self.cases), sorted(itertools.product(SIDES, MODES, WAITERS)))
        self.assertEqual(len(self.report["herd"]), len(self.cases))

    def test_nothing_is_lost_while_one_is_in_flight(self):
        for name, case in self.each():
            with self.subTest(name):
                self.assertGreater(case["sent"], 50)
                self.assertEqual(case["lost"], 0)

    def test_rates_and_latencies_are_plausible(self):
        for name, case in self.each():
            with self.subTest(name):
                self.assertGreater(case["datagrams_per_second"], 100)
                self.assertGreater(case["latency_us"]["p50"], 0.5)
                self.assertGreaterEqual(case["latency_us"]["p99"], case["latency_us"]["p50"])

    def test_plain_epoll_wakes_every_waiter(self):
        for name, case in self.each(modes=("epoll",)):
            with self.subTest(name):
                within = 0.15 * case["waiters"]
                self.assertAlmostEqual(case["wakeups_per_datagram"], case["waiters"], delta=within)
                self.assertAlmostEqual(case["useless_per_datagram"], case["waiters"] - 1, delta=within)

    def test_the_three_remedies_wake_one(self):
        for name, case in self.each(modes=("exclusive", "lock", "reuseport")):
            with self.subTest(name):
                self.assertAlmostEqual(case["wakeups_per_datagram"], 1, delta=0.15)
                self.assertLess(case["useless_per_datagram"], 0.15)


if __name__ == "__main__":
    unittest.main()
