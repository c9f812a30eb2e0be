"""A short run of the upgrade: with generations no flow goes astray, without them many do."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

COUNTS = ("flows", "upgrades", "sent", "answered", "lost", "misdirected", "orphaned", "new_to_old")
UPGRADES = 10


class Upgrade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="skua-upgrade-") as scratch:
            report = pathlib.Path(scratch) / "upgrade.json"
            cls.done = subprocess.run([os.environ["SKUA_UPGRADE"], "--quick", "--processes", "--json", report],
                                      check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                      timeout=100)
            cls.report = json.loads(report.read_text())
        cls.plain = cls.report["plain_reuseport"]
        cls.kernel = cls.report["kernel"]
        cls.processes = cls.report["processes"]

    def test_the_program_is_content(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout)
        self.assertNotIn("WRONG", self.done.stdout)

    def test_every_count_is_there_four_times(self):
        for counts in (self.report, self.plain, self.kernel, self.processes):
            for name in COUNTS:
                self.assertIsInstance(counts[name], int, name)
            self.assertEqual(counts["upgrades"], UPGRADES)
            self.assertEqual(counts["sent"], counts["answered"] + counts["lost"])

    def test_with_generations_nothing_goes_astray(self):
        self.assertGreater(self.report["sent"], 30 * self.report["flows"])
        for name in ("lost", "misdirected", "new_to_old", "put_out"):
            self.assertEqual(self.report[name], 0, name)
        self.assertEqual(self.report["left"], UPGRADES)

    def test_between_processes_nothing_goes_astray_either(self):
        self.assertGreater(self.processes["sent"], 30 * self.processes["flows"])
        for name in ("lost", "misdirected", "new_to_old", "put_out"):
            self.assertEqual(self.processes[name], 0, name)
        self.assertEqual(self.processes["left"], UPGRADES - 1)
        self.assertEqual(self.processes["killed"], 1)
        # More than those of single members: half of the flows at that time were the killed process's.
        self.assertGreater(self.processes["orphaned"], self.report["orphaned"] + self.report["flows"] / 4)

    def test_only_flows_of_crashed_members_are_orphaned(self):
        self.assertGreater(self.report["orphaned"], 0)
        self.assertLess(self.report["orphaned"], self.report["flows"])
        for counts in (self.report, self.processes):
            self.assertEqual(counts["group"]["orphaned"], counts["orphaned"])

    def test_each_packet_is_counted_once(self):
        for counts in (self.report, self.processes):
            group = counts["group"]
            self.assertEqual(group["rx_processed_total"], counts["sent"])
            self.assertEqual(group["rx_flow_ok"] + group["rx_new_flow_working_gen_dispatch_ok"], counts["sent"])
            self.assertEqual(group["rx_flow_new_unseen"], counts["begun"])
            self.assertEqual(group["rx_flow_other_error"], counts["orphaned"])
            self.assertEqual(group["tx_total"], counts["answered"])
            for name in ("rx_new_flow_working_gen_dispatch_error", "tx_flow_create_error", "tx_flow_update_conflict",
                         "evicted"):
                self.assertEqual(group[name], 0, name)

    def test_plain_reuseport_breaks_flows(self):
        for counts in (self.plain, self.kernel):
            self.assertGreater(counts["misdirected"], counts["flows"])
            self.assertGreater(counts["new_to_old"], counts["flows"])
            self.assertEqual(counts["left"], 0)
            self.assertEqual(len(counts["after_upgrade"]), UPGRADES)
