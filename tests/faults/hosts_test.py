"""Two hosts on one machine: network namespaces with names and addresses of their own.

mpirun starts its daemon on the second host by an agent in place of ssh. The link has delay and loss
where the kernel can add them.
"""

import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from program import BINARY, ROOT, ProgramTest, environment

SUBNET = "10.213.77"
HOSTS = (f"{SUBNET}.1", f"{SUBNET}.2")

# Started as `agent HOST COMMAND...`: what ssh would do. Open MPI cuts host names at their first dot,
# and two hosts of one name would share their memory segments: so the last number alone.
AGENT = """#!/bin/sh
host=$1
shift
exec ip netns exec "pl-$host" unshare --uts sh -c 'hostname "plumbline-${0##*.}"; exec sh -c "$*"' "$host" "$@"
"""


def run(*words):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)


class TwoHosts(ProgramTest):
    def setUp(self):
        super().setUp()
        if shutil.which("ip") is None:
            self.skipTest("no ip command (iproute2)")
        for host in HOSTS:
            run("ip", "netns", "del", f"pl-{host}")  # of a test that was killed
            done = run("ip", "netns", "add", f"pl-{host}")
            if done.returncode != 0:
                self.skipTest(f"no network namespaces here: {done.stderr.strip()}")
            self.addCleanup(run, "ip", "netns", "del", f"pl-{host}")
        done = run("ip", "link", "add", "pl-a", "netns", f"pl-{HOSTS[0]}", "type", "veth",
                   "peer", "name", "pl-b", "netns", f"pl-{HOSTS[1]}")
        if done.returncode != 0:
            self.skipTest(f"no virtual link here: {done.stderr.strip()}")
        for host, link in zip(HOSTS, ("pl-a", "pl-b")):
            inside = ("ip", "-n", f"pl-{host}")
            self.assertEqual(run(*inside, "addr", "add", f"{host}/24", "dev", link).returncode, 0)
            self.assertEqual(run(*inside, "link", "set", link, "up").returncode, 0)
            self.assertEqual(run(*inside, "link", "set", "lo", "up").returncode, 0)
        self.agent = self.folder / "agent"
        self.agent.write_text(AGENT)
        self.agent.chmod(0o755)

    def job(self, config, *arguments):
        """The command of 2 + 2 ranks, mpirun on the first host."""
        words = [self.agent, HOSTS[0], "mpirun", "--allow-run-as-root", "--bind-to", "none", "-n",
                 "4", "--host", ",".join(f"{host}:2" for host in HOSTS), "--map-by", "ppr:2:node",
                 "--mca", "plm_rsh_agent", self.agent, "--mca", "btl_tcp_if_include",
                 f"{SUBNET}.0/24", "--mca", "oob_tcp_if_include", f"{SUBNET}.0/24", "--mca",
                 "btl_vader_single_copy_mechanism", "none", "-x", "PLUMBLINE_ASSETS", "-x",
                 "OMP_NUM_THREADS", "--wdir", ROOT, BINARY, "train", config, *arguments]
        return [str(word) for word in words]

    def train(self, config, *arguments):
        done = subprocess.run(self.job(config, *arguments), cwd=ROOT, env=environment(),
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Hosts(TwoHosts):
    def test_two_hosts_give_the_bits_of_one(self):
        self.plumbline("train", self.run_file("one"), ranks=4)
        self.train(self.run_file("two"))
        environment_file = (self.folder / "two" / "environment.json").read_text()
        for host in HOSTS:
            self.assertIn("plumbline-" + host.rpartition(".")[2], environment_file)
        self.assertEqual([m["loss"] for m in self.metrics("one")],
                         [m["loss"] for m in self.metrics("two")])


class SlowLink(TwoHosts):
    def test_a_slow_and_lossy_link_changes_time_and_nothing_else(self):
        for host, link in zip(HOSTS, ("pl-a", "pl-b")):
            done = run("ip", "netns", "exec", f"pl-{host}", "tc", "qdisc", "add", "dev", link,
                       "root", "netem", "delay", "1ms", "loss", "0.5%")
            if done.returncode != 0:
                self.skipTest(f"this kernel adds no delay: {done.stderr.strip()}")
        self.plumbline("train", self.run_file("one"), ranks=4)
        self.train(self.run_file("two"))
        self.assertEqual([m["loss"] for m in self.metrics("one")],
                         [m["loss"] for m in self.metrics("two")])


if __name__ == "__main__":
    os.chdir(ROOT)
    unittest.main(verbosity=2)
