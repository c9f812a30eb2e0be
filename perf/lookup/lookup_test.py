"""A short run of the lookup benchmark: its figures are there, and plausible."""
import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

TABLES = ("ports", "addresses", "connected")
FAMILIES = (4, 6)
SOCKETS = (1, 1000)
BURSTS = (1, 32)


class Lookup(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="skua-lookup-") as scratch:
            report = pathlib.Path(scratch) / "lookup.json"
            subprocess.run([os.environ["SKUA_LOOKUP"], "--quick", "--sockets", ",".join(map(str, SOCKETS)),
                            "--growth", "20000", "--json", report], check=True, stdin=subprocess.DEVNULL, timeout=100)
            cls.report = json.loads(report.read_text())
        cls.rows = {(r["table"], r["family"], r["sockets"], r["burst"]): r for r in cls.report["lookup"]}

    def test_every_case_is_there_once(self):
        self.assertEqual(sorted(self.rows), sorted(itertools.product(TABLES, FAMILIES, SOCKETS, BURSTS)))
        self.assertEqual(len(self.report["lookup"]), len(self.rows))

    def test_cycles_are_plausible(self):
        for key, row in self.rows.items():
            with self.subTest(key):
                self.assertLessEqual(0, row["cycles"])  # the feed is taken off
                self.assertLess(row["cycles"], 5000)
                self.assertLess(0, row["empty"])

    def test_the_sockets_stand_where_the_table_says(self):
        for (table, _, sockets, _), row in self.rows.items():
            with self.subTest(table, sockets=sockets):
                self.assertEqual(row["ports"], sockets if table == "ports" else 1)
                self.assertEqual(row["addresses"], sockets if table == "addresses" else 1)

    def test_memory_is_stated(self):
        for key, row in self.rows.items():
            if row["sockets"] == max(SOCKETS):
                with self.subTest(key):
                    self.assertLess(64, row["memory_per_socket"])
                    self.assertLess(row["memory_per_socket"], 1000)

    @unittest.skipIf((os.cpu_count() or 1) < 2, "growth is measured with two CPUs")
    def test_growth_is_measured(self):
        growth = self.report["growth"]
        self.assertEqual(growth["sockets"], 20000)
        self.assertGreater(growth["growing"]["polls"], 100)
        self.assertGreater(growth["idle"]["polls"], 100)
        for which in ("longest_us", "longest_idle_us", "longest_insert_us"):
            self.assertGreater(growth[which], 0)


if __name__ == "__main__":
    unittest.main()
